"""Trend: percentiles against slow definitions, lines against numpy and scipy, and what may be compared by the spec."""

from fractions import Fraction
from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy import stats

from service.domain import QUANTILES, Curves, ErrorType, Group, Metric, NoReference, TrendPoint
from service.summary.trend import (
    allowed_metrics,
    fit_line,
    fits_of,
    percentile_of,
    quantiles_at,
    standings_of,
    values_of,
    with_standings,
)

MAY_ABSTAIN = (ErrorType.FINE_GRAINED_OOV, ErrorType.SPURIOUS_CORRELATION, ErrorType.NON_PROTOTYPICAL)
SUBSETS = [*chain.from_iterable(combinations(MAY_ABSTAIN, size) for size in range(4))]
NO_ERRORS = dict.fromkeys(tuple(ErrorType)[1:], 0)
STEPS = np.arange(1, 100) / 100  # quantiles of values that are spread evenly over 0 to 1


def share_lower(values: list[float], value: float) -> float:
    """Count one at a time: a lower value is one, a tie is a half."""
    found = 0.0
    for each in values:
        if each < value:
            found += 1
        elif each == value:
            found += 0.5
    return found / len(values)


# percentiles


@settings(max_examples=300)
@given(st.lists(st.integers(0, 12), min_size=99, max_size=99), st.integers(-1, 25))
@example(quantiles=[3] * 99, half=6)
@example(quantiles=[*range(99)], half=-1)
def test_a_percentile_is_the_share_of_the_quantiles_and_itself_that_are_lower(quantiles: list[int], half: int) -> None:
    """Given 99 quantiles, the model itself makes them 100; halves lie between, below and above all of them."""
    value = half / 2

    found = percentile_of(np.sort(np.array(quantiles, dtype=np.float64)), value)

    assert found == pytest.approx(share_lower([*quantiles, value], value))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (-1, 0.005),  # below all: within the lowest hundredth
        (2, 0.995),  # above all
        (0.37, 0.37),  # equal to one
        (0.375, 0.375),  # between two
        (0.01, 0.01),
        (0.99, 0.99),
    ],
)
def test_a_value_stands_where_its_quantile_is(value: float, expected: float) -> None:
    assert percentile_of(STEPS, value) == pytest.approx(expected)


def test_a_value_equal_to_several_quantiles_stands_in_their_middle() -> None:
    quantiles = np.array([0.0] * 20 + [0.5] * 41 + [1.0] * 38)  # 21 to 61 % are a half

    assert percentile_of(quantiles, 0.5) == pytest.approx(0.41)


def test_a_value_that_all_models_have_stands_in_the_middle() -> None:
    assert percentile_of(np.zeros(99), 0.0) == pytest.approx(0.5)


@settings(max_examples=200)
@given(st.lists(st.integers(0, 30), min_size=20, max_size=50), st.data())
def test_a_percentile_from_quantiles_is_that_of_the_models_themselves(models: list[int], data: st.DataObject) -> None:
    """Given a model among 20 to 50, the quantiles tell its place within a model's share and half a hundredth."""
    value = data.draw(st.sampled_from(models))

    found = percentile_of(np.quantile(models, QUANTILES), value)

    assert abs(found - share_lower(models, value)) <= 0.5 / len(models) + 0.006


@settings(max_examples=100)
@given(
    st.lists(st.floats(0, 1), min_size=99, max_size=99),
    st.lists(st.floats(-0.5, 1.5), min_size=2, max_size=8),
)
def test_a_higher_value_never_stands_lower(quantiles: list[float], values: list[float]) -> None:
    found = [percentile_of(np.sort(quantiles), value) for value in sorted(values)]

    assert found == sorted(found)
    assert all(0 < each < 1 for each in found)


# quantiles at an accuracy


def rows_of(*firsts: float) -> np.ndarray:
    """Make a row of quantiles a knot; NaN: too few models are near."""
    return np.array([first + STEPS for first in firsts])


@pytest.mark.parametrize(
    ("accuracy", "first"),
    [
        (0.25, 1.0),  # at the first knot
        (0.5, 3.0),  # at a knot
        (1.0, 11.0),  # at the last knot
        (0.375, 2.0),  # halfway
        (0.3125, 1.5),  # a quarter of the way
        (0.9375, 9.5),  # three quarters of the way
    ],
)
def test_quantiles_between_two_knots_are_in_proportion(accuracy: float, first: float) -> None:
    found = quantiles_at(np.array([0.25, 0.5, 0.75, 1.0]), rows_of(1, 3, 5, 11), accuracy)

    assert found is not None
    assert found == pytest.approx(first + STEPS)


@pytest.mark.parametrize(
    ("accuracy", "known"),
    [(0.25, False), (0.375, False), (0.5, True), (0.625, True), (0.75, True), (0.875, False), (1.0, False)],
)
def test_next_to_a_knot_with_too_few_models_there_are_no_quantiles(accuracy: float, known: bool) -> None:
    """Given a knot with few models at either end, those at the knots between them are there."""
    nan = float("nan")

    found = quantiles_at(np.array([0.25, 0.5, 0.75, 1.0]), rows_of(nan, 3, 5, nan), accuracy)

    assert (found is not None) == known


# standings


def curves(lowest: float = 0.3, highest: float = 0.9) -> Curves:
    """Make published models whose values are spread evenly over 0 to 1, save that few are near 25 %."""
    quantiles = rows_of(float("nan"), 0, 0, 0)
    return Curves(
        dataset="imagenet",
        num_models=962,
        lowest=lowest,
        highest=highest,
        knots=np.array([0.25, 0.5, 0.75, 1.0]),
        quantiles={(group, metric): quantiles for group in Group for metric in Metric},
        fits={},
    )


VALUES = {metric: (number + 1) / 100 for number, metric in enumerate(Metric)}


@pytest.mark.parametrize("accuracy", [0.0, 0.2999, 0.9001, 1.0])
def test_outside_the_published_accuracies_there_is_no_percentile(accuracy: float) -> None:
    for each in standings_of(curves(), Group.ALL, accuracy, VALUES, ()):
        assert (each.value, each.percentile, each.missing) == (VALUES[each.metric], None, NoReference.ACCURACY)


@pytest.mark.parametrize("accuracy", [0.5, 0.625, 0.9])
def test_among_the_published_accuracies_each_value_has_its_place(accuracy: float) -> None:
    for each in standings_of(curves(), Group.ORGANISM, accuracy, VALUES, ()):
        assert each.missing is None
        assert each.percentile == pytest.approx(VALUES[each.metric])


def test_the_most_and_the_least_accurate_published_model_are_among_them() -> None:
    (least, *_), (most, *_) = (
        standings_of(curves(0.5, 0.9), Group.ALL, accuracy, VALUES, ()) for accuracy in (0.5, 0.9)
    )

    assert least.missing is None
    assert most.missing is None


def test_near_too_few_published_models_there_is_no_percentile() -> None:
    for each in standings_of(curves(), Group.ALL, 0.3, VALUES, ()):
        assert (each.value, each.percentile, each.missing) == (VALUES[each.metric], None, NoReference.FEW)


@pytest.mark.parametrize("accuracy", [0.1, 0.3, 0.6, 0.95])
def test_a_model_without_errors_has_no_portions_to_compare(accuracy: float) -> None:
    found = standings_of(curves(), Group.ALL, accuracy, {Metric.MULTI_LABEL_ACCURACY: 0.97}, ())

    for each in found:
        if each.metric is not Metric.MULTI_LABEL_ACCURACY:
            assert (each.value, each.percentile, each.missing) == (None, None, NoReference.NO_VALUE)
    assert [each.value for each in found].count(0.97) == 1


def test_a_point_with_its_standings_is_otherwise_the_same() -> None:
    point = TrendPoint("id", "title", "label", True, 0.6, VALUES)

    found = with_standings(point, curves(), Group.ALL, ())

    assert (found.id, found.title, found.label, found.asked, found.top1_accuracy, found.values) == (
        ("id", "title", "label", True, 0.6, VALUES)
    )
    assert {each.metric for each in found.standings} == set(Metric) - {Metric.POOLED}


# what may be compared


@pytest.mark.parametrize("abstained", SUBSETS, ids=lambda each: "+".join(kind.name for kind in each) or "none")
def test_a_type_is_compared_only_if_it_and_every_rule_before_had_evidence(abstained: tuple[ErrorType, ...]) -> None:
    """By the spec: a type is compared if it and every rule before it had evidence; otherwise 5 to 8 are pooled."""
    compared = set()
    for kind in tuple(ErrorType)[2:]:
        upto = [each for each in ErrorType if each <= kind]
        if not any(each in abstained for each in upto):
            compared.add(kind.name)
    pooled = {"POOLED"} if len(compared) < 7 else set()

    found = allowed_metrics(abstained)

    assert {each.value for each in found} == compared | pooled | {"MULTI_LABEL_ACCURACY"}
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("silent", "compared"),
    [
        (ErrorType.FINE_GRAINED_OOV, {2, 3, 4}),
        (ErrorType.SPURIOUS_CORRELATION, {2, 3, 4, 5}),
        (ErrorType.NON_PROTOTYPICAL, {2, 3, 4, 5, 6}),
    ],
)
def test_what_hangs_on_a_silent_rule_never_gets_a_percentile(silent: ErrorType, compared: set[int]) -> None:
    """Given a rule that abstained, its errors went to the types after it; given in any order."""
    for others in SUBSETS:
        abstained = {silent, *(each for each in others if each > silent)}
        for order in (sorted(abstained), sorted(abstained, reverse=True)):
            found = standings_of(curves(), Group.ALL, 0.6, VALUES, order)
            single = {ErrorType[each.metric.value] for each in found if each.metric.value in ErrorType.__members__}
            assert single == compared
            assert Metric.POOLED in {each.metric for each in found}


def test_types_are_pooled_only_where_a_rule_abstained() -> None:
    assert Metric.POOLED not in allowed_metrics(())


# lines


@st.composite
def models(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    number = draw(st.integers(3, 30))
    column = st.lists(st.integers(0, 1000), min_size=number, max_size=number)
    accuracy, values = draw(column), draw(column)
    assume(len(set(accuracy)) > 1 and len(set(values)) > 1)
    return np.array(accuracy) / 1000, np.array(values) / 1000


@settings(max_examples=200, deadline=None)
@given(models())
def test_a_line_is_that_of_numpy_and_of_scipy(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    accuracy, values = drawn

    found = fit_line(accuracy, values)

    assert found is not None
    slope, intercept = np.polyfit(accuracy, values, 1)
    expected = stats.linregress(accuracy, values)
    assert found.num_models == len(accuracy)
    assert [found.slope, found.intercept] == pytest.approx([slope, intercept], rel=1e-6, abs=1e-6)
    assert [found.slope, found.intercept] == pytest.approx([expected.slope, expected.intercept], rel=1e-9, abs=1e-9)
    assert found.r_squared == pytest.approx(expected.rvalue**2, abs=1e-9)
    assert found.at(accuracy) == pytest.approx(expected.intercept + expected.slope * accuracy, abs=1e-9)


def test_a_line_by_hand() -> None:
    found = fit_line(np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 4.0]))

    assert found is not None
    assert (found.slope, found.intercept) == pytest.approx((1.5, 0.5))
    assert found.r_squared == pytest.approx(0.75)  # 1 - (0.25 + 1 + 0.25) / (1 + 1 + 4)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_fewer_than_three_models_have_no_line(number: int) -> None:
    assert fit_line(np.arange(number, dtype=np.float64), np.arange(number, dtype=np.float64)) is None


def test_models_of_one_accuracy_have_no_line() -> None:
    assert fit_line(np.full(5, 0.7), np.array([0.1, 0.2, 0.3, 0.4, 0.5])) is None


def test_a_level_line_explains_nothing_and_says_so() -> None:
    found = fit_line(np.array([0.25, 0.5, 0.75]), np.full(3, 0.25))

    assert found is not None
    assert (found.slope, found.intercept, found.r_squared) == (0, 0.25, None)


# lines of labels


def point(accuracy: float, value: float | None, label: str = "") -> TrendPoint:
    values = {} if value is None else {Metric.MODEL_FAILURE: value}
    return TrendPoint("", "", label, False, accuracy, values)


def fits(points: list[TrendPoint]) -> dict:
    return {
        each.label: each
        for each in fits_of(points, [Metric.MODEL_FAILURE], sorted({each.label for each in points} - {""}))
    }


def test_each_label_has_its_own_line_and_its_distance_from_that_through_all() -> None:
    """Given two labels a tenth above and a tenth below the diagonal, the line through all is the diagonal."""
    accuracies = (0.25, 0.5, 0.75)

    found = fits([point(x, x + 0.1, "above") for x in accuracies] + [point(x, x - 0.1, "below") for x in accuracies])

    assert list(found) == ["", "above", "below"]
    assert (found[""].fit.slope, found[""].fit.intercept) == pytest.approx((1, 0))
    assert found[""].fit.r_squared == pytest.approx(0.25 / (0.25 + 6 * 0.01))
    assert (found[""].num_models, found[""].shift) == (6, None)
    for label, shift in (("above", 0.1), ("below", -0.1)):
        assert found[label].num_models == 3
        assert (found[label].fit.slope, found[label].fit.intercept) == pytest.approx((1, shift))
        assert found[label].fit.r_squared == pytest.approx(1)
        assert found[label].shift == pytest.approx(shift)


def test_a_shift_is_the_mean_distance_from_the_line_through_all() -> None:
    """Given (0, 0), (1, 0), (2, 3), (3, 3), the line is 1.2 x - 0.3: the last two lie 0.9 above and 0.3 below."""
    found = fits([point(0, 0), point(1, 0), point(2, 3, "last"), point(3, 3, "last")])

    assert (found[""].fit.slope, found[""].fit.intercept) == pytest.approx((1.2, -0.3))
    assert found["last"].shift == pytest.approx((0.9 - 0.3) / 2)


def test_models_without_a_label_are_in_the_line_through_all_alone() -> None:
    found = fits([point(x, x) for x in (0.1, 0.2, 0.3)] + [point(0.4, 0.4, "one")])

    assert set(found) == {"", "one"}
    assert found[""].num_models == 4


def test_a_label_of_two_models_has_a_shift_but_no_line() -> None:
    found = fits([point(x, x) for x in (0.0, 0.25, 0.75, 1.0)] + [point(0.25, 0.5, "two"), point(0.75, 1.0, "two")])

    assert found["two"].fit is None
    assert found["two"].num_models == 2
    assert found["two"].shift == pytest.approx(1 / 4 - 1 / 12)  # the line through all lies at x + 0.5 / 6


def test_two_models_have_neither_lines_nor_shifts() -> None:
    found = fits([point(0.1, 0.1, "one"), point(0.2, 0.2, "other")])

    assert [(each.fit, each.shift) for each in found.values()] == [(None, None)] * 3
    assert [each.num_models for each in found.values()] == [2, 1, 1]


def test_models_of_one_accuracy_have_neither_lines_nor_shifts() -> None:
    found = fits([point(0.7, value, "same") for value in (0.1, 0.2, 0.3, 0.4)])

    assert (found[""].fit, found["same"].fit, found["same"].shift) == (None, None, None)
    assert found[""].num_models == 4


def test_models_without_the_value_are_left_out() -> None:
    found = fits([point(x, x, "known") for x in (0.1, 0.2, 0.3)] + [point(0.9, None, "known"), point(0.8, None, "no")])

    assert set(found) == {"", "known"}
    assert (found[""].num_models, found["known"].num_models) == (3, 3)
    assert found[""].fit.slope == pytest.approx(1)


def test_without_models_there_is_nothing_to_tell() -> None:
    (found,) = fits_of([], [Metric.POOLED], [])

    assert (found.metric, found.label, found.fit, found.num_models) == (Metric.POOLED, "", None, 0)


# values


@settings(max_examples=200)
@given(st.lists(st.integers(0, 10_000), min_size=8, max_size=8), st.floats(0, 1))
def test_portions_are_shares_of_the_top1_errors_and_add_up(drawn: list[int], accuracy: float) -> None:
    counts = dict(zip(tuple(ErrorType)[1:], drawn, strict=True))
    errors = sum(drawn[1:])
    assume(errors)

    found = values_of(counts, accuracy)

    assert set(found) == set(Metric)
    assert sum(found[Metric(kind.name)] for kind in tuple(ErrorType)[2:]) == pytest.approx(1)
    for kind in tuple(ErrorType)[2:]:
        assert found[Metric(kind.name)] == pytest.approx(float(Fraction(counts[kind], errors)))
    assert found[Metric.POOLED] == pytest.approx(float(Fraction(sum(drawn[4:]), errors)))
    assert found[Metric.MULTI_LABEL_ACCURACY] == accuracy


def test_types_5_to_8_are_pooled() -> None:
    counts = dict(zip(tuple(ErrorType)[1:], (1000, 10, 20, 30, 1, 2, 3, 34), strict=True))

    found = values_of(counts, None)

    assert found[Metric.POOLED] == pytest.approx(0.4)
    assert found[Metric.CLASS_OVERLAP] == pytest.approx(0.1)
    assert found[Metric.FINE_GRAINED_OOV] == pytest.approx(0.01)
    assert Metric.MULTI_LABEL_ACCURACY not in found


def test_without_errors_there_are_no_portions() -> None:
    counts = {**NO_ERRORS, ErrorType.CORRECT: 5}

    assert values_of(counts, 1.0) == {Metric.MULTI_LABEL_ACCURACY: 1.0}
    assert values_of(NO_ERRORS, None) == {}


def test_equal_values_have_a_line_without_r_squared() -> None:
    fit = fit_line(np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.55, 0.65]), np.full(7, 0.1))

    assert fit is not None
    assert (fit.slope, fit.r_squared) == (0.0, None)


def test_where_models_are_published_a_shift_is_the_distance_from_their_median() -> None:
    """Given a curve whose median is half the accuracy, models a tenth above it and one outside of its knots."""
    knots = np.array([0.6, 0.7, 0.8])
    quantiles = np.tile(knots[:, None] / 2, (1, 99)).astype(np.float32)
    places = [(group, metric) for group in Group for metric in Metric]
    curves = Curves("imagenet", 50, 0.6, 0.8, knots, dict.fromkeys(places, quantiles), {})
    points = [point(0.6, 0.4, "a"), point(0.75, 0.475, "a"), point(0.9, 0.1, "a"), point(0.65, 0.3)]

    found = {each.label: each for each in fits_of(points, [Metric.MODEL_FAILURE], ["a"], curves, Group.ORGANISM)}

    assert found["a"].shift == pytest.approx(0.1)

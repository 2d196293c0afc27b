"""Trends: percentiles compared with slow definitions, lines with numpy and scipy, and the comparable metrics."""

from fractions import Fraction
from itertools import chain, combinations, permutations

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy import stats

from service.domain import METRICS, QUANTILES, Curves, ErrorType, Group, NoReferenceReason, TrendPoint
from service.summary.trend import (
    add_percentile_ranks,
    allowed_metrics,
    fit_line,
    fits_of,
    metric_values,
    percentile_of,
    percentile_ranks_of,
    quantiles_at,
)

MAY_ABSTAIN = (ErrorType.FINE_GRAINED_OOV, ErrorType.SPURIOUS_CORRELATION, ErrorType.NON_PROTOTYPICAL)
SUBSETS = [*chain.from_iterable(combinations(MAY_ABSTAIN, size) for size in range(4))]
NO_ERRORS = dict.fromkeys(tuple(ErrorType), 0)
STEPS = np.arange(1, 100) / 100  # quantiles of values that are spread evenly over 0 to 1


def share_lower(values: list[float], value: float) -> float:
    """Return the share of lower values; a tie counts half."""
    result = 0.0
    for other in values:
        if other < value:
            result += 1
        elif other == value:
            result += 0.5
    return result / len(values)


# percentiles


@pytest.mark.slow
@settings(max_examples=300)
@given(st.lists(st.integers(0, 12), min_size=99, max_size=99), st.integers(-1, 25))
@example(quantiles=[3] * 99, half=6)
@example(quantiles=[*range(99)], half=-1)
def test_percentile_is_the_share_of_lower_quantiles(quantiles: list[int], half: int) -> None:
    """Halves are between, below, and above all 99 quantiles."""
    value = half / 2

    percentile = percentile_of(np.sort(np.array(quantiles, dtype=np.float64)), value)

    assert percentile == pytest.approx(share_lower([*quantiles, value], value))


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
def test_percentile_of_a_value_is_that_of_its_quantile(value: float, expected: float) -> None:
    assert percentile_of(STEPS, value) == pytest.approx(expected)


def test_percentile_of_ties_is_their_middle() -> None:
    quantiles = np.array([0.0] * 20 + [0.5] * 41 + [1.0] * 38)  # 21 to 61 % are a half

    assert percentile_of(quantiles, 0.5) == pytest.approx(0.41)


def test_percentile_of_a_value_of_all_models_is_one_half() -> None:
    assert percentile_of(np.zeros(99), 0.0) == pytest.approx(0.5)


@settings(max_examples=200)
@given(st.lists(st.integers(0, 30), min_size=20, max_size=50), st.data())
def test_percentile_from_quantiles_agrees_with_that_among_models(models: list[int], data: st.DataObject) -> None:
    """The error is at most the share of one model and half a percent."""
    value = data.draw(st.sampled_from(models))

    percentile = percentile_of(np.quantile(models, QUANTILES), value)

    assert abs(percentile - share_lower(models, value)) <= 0.5 / len(models) + 0.006


@settings(max_examples=100)
@given(
    st.lists(st.floats(0, 1), min_size=99, max_size=99),
    st.lists(st.floats(-0.5, 1.5), min_size=2, max_size=8),
)
def test_percentile_is_monotonic(quantiles: list[float], values: list[float]) -> None:
    result = [percentile_of(np.sort(quantiles), value) for value in sorted(values)]

    assert result == sorted(result)
    assert all(0 < percentile < 1 for percentile in result)


# quantiles at an accuracy


def rows_of(*firsts: float) -> np.ndarray:
    """Create one row of quantiles per knot; NaN: too few models."""
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
def test_quantiles_between_knots_are_interpolated(accuracy: float, first: float) -> None:
    result = quantiles_at(np.array([0.25, 0.5, 0.75, 1.0]), rows_of(1, 3, 5, 11), accuracy)

    assert result is not None
    assert result == pytest.approx(first + STEPS)


@pytest.mark.parametrize(
    ("accuracy", "known"),
    [(0.25, False), (0.375, False), (0.5, True), (0.625, True), (0.75, True), (0.875, False), (1.0, False)],
)
def test_interval_next_to_a_knot_with_too_few_models_has_no_quantiles(accuracy: float, known: bool) -> None:
    """Both outer knots have too few models."""
    nan = float("nan")

    result = quantiles_at(np.array([0.25, 0.5, 0.75, 1.0]), rows_of(nan, 3, 5, nan), accuracy)

    assert (result is not None) == known


# ranks


def curves(lowest: float = 0.3, highest: float = 0.9) -> Curves:
    """Create curves with values uniform from 0 to 1, and too few models near 25 %."""
    quantiles = rows_of(float("nan"), 0, 0, 0)
    return Curves(
        dataset="imagenet",
        num_models=962,
        lowest=lowest,
        highest=highest,
        knots=np.array([0.25, 0.5, 0.75, 1.0]),
        quantiles={(group, metric): quantiles for group in Group for metric in METRICS},
        fits={},
    )


VALUES = {metric: (number + 1) / 100 for number, metric in enumerate(METRICS)}


@pytest.mark.parametrize("accuracy", [0.0, 0.2999, 0.9001, 1.0])
def test_accuracy_outside_the_published_range_has_no_percentile(accuracy: float) -> None:
    for rank in percentile_ranks_of(curves(), Group.ALL, accuracy, VALUES, ()):
        assert (rank.value, rank.percentile, rank.missing) == (VALUES[rank.metric], None, NoReferenceReason.ACCURACY)


@pytest.mark.parametrize("accuracy", [0.5, 0.625, 0.9])
def test_accuracy_within_the_published_range_has_percentiles(accuracy: float) -> None:
    for rank in percentile_ranks_of(curves(), Group.ORGANISM, accuracy, VALUES, ()):
        assert rank.missing is None
        assert rank.percentile == pytest.approx(VALUES[rank.metric])


def test_published_range_includes_its_bounds() -> None:
    (least, *_), (most, *_) = (
        percentile_ranks_of(curves(0.5, 0.9), Group.ALL, accuracy, VALUES, ()) for accuracy in (0.5, 0.9)
    )

    assert least.missing is None
    assert most.missing is None


def test_accuracy_near_too_few_models_has_no_percentile() -> None:
    for rank in percentile_ranks_of(curves(), Group.ALL, 0.3, VALUES, ()):
        assert (rank.value, rank.percentile, rank.missing) == (VALUES[rank.metric], None, NoReferenceReason.FEW)


@pytest.mark.parametrize("accuracy", [0.1, 0.3, 0.6, 0.95])
def test_model_without_errors_has_no_portions(accuracy: float) -> None:
    ranks = percentile_ranks_of(curves(), Group.ALL, accuracy, {"multi_label_accuracy": 0.97}, ())

    for rank in ranks:
        if rank.metric != "multi_label_accuracy":
            assert (rank.value, rank.percentile, rank.missing) == (None, None, NoReferenceReason.NO_VALUE)
    assert [rank.value for rank in ranks].count(0.97) == 1


def test_adding_percentile_ranks_keeps_the_other_fields() -> None:
    point = TrendPoint("id", "title", "label", True, 0.6, VALUES)

    result = add_percentile_ranks(point, curves(), Group.ALL, ())

    assert (result.id, result.title, result.label, result.is_selected, result.top1_accuracy, result.values) == (
        ("id", "title", "label", True, 0.6, VALUES)
    )
    assert {standing.metric for standing in result.percentile_ranks} == set(METRICS) - {"pooled"}


# comparable metrics


@pytest.mark.parametrize("abstained", SUBSETS, ids=lambda types: "+".join(kind.name for kind in types) or "none")
def test_metrics_need_the_evidence_of_all_earlier_rules(abstained: tuple[ErrorType, ...]) -> None:
    """See spec/statistics, "when a percentile is allowed"."""
    compared = set()
    for kind in tuple(ErrorType)[1:]:
        earlier = [error_type for error_type in ErrorType if error_type.position <= kind.position]
        if not any(error_type in abstained for error_type in earlier):
            compared.add(kind.key)
    pooled = {"pooled"} if len(compared) < 7 else set()

    result = allowed_metrics(abstained)

    assert set(result) == compared | pooled | {"multi_label_accuracy"}
    assert len(result) == len(set(result))


@pytest.mark.parametrize(
    ("abstained_type", "compared"),
    [
        (ErrorType.FINE_GRAINED_OOV, {2, 3, 4}),
        (ErrorType.SPURIOUS_CORRELATION, {2, 3, 4, 5}),
        (ErrorType.NON_PROTOTYPICAL, {2, 3, 4, 5, 6}),
    ],
)
def test_types_after_an_abstained_rule_have_no_percentile(abstained_type: ErrorType, compared: set[int]) -> None:
    """The errors of an abstained rule have later types. The order of the abstained types does not matter."""
    for others in SUBSETS:
        abstained = {abstained_type, *(other for other in others if other.position > abstained_type.position)}
        for order in permutations(abstained):
            ranks = percentile_ranks_of(curves(), Group.ALL, 0.6, VALUES, order)
            single = {kind.id for kind in ErrorType if kind.key in {rank.metric for rank in ranks}}
            assert single == compared
            assert "pooled" in {rank.metric for rank in ranks}


def test_types_are_pooled_only_if_a_rule_abstained() -> None:
    assert "pooled" not in allowed_metrics(())


# lines


@st.composite
def models(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    number = draw(st.integers(3, 30))
    column = st.lists(st.integers(0, 1000), min_size=number, max_size=number)
    accuracy, values = draw(column), draw(column)
    assume(len(set(accuracy)) > 1 and len(set(values)) > 1)
    return np.array(accuracy) / 1000, np.array(values) / 1000


@settings(max_examples=200)
@given(models())
def test_line_agrees_with_numpy_and_scipy(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    accuracy, values = drawn

    result = fit_line(accuracy, values)

    assert result is not None
    slope, intercept = np.polyfit(accuracy, values, 1)
    expected = stats.linregress(accuracy, values)
    assert result.num_models == len(accuracy)
    assert [result.slope, result.intercept] == pytest.approx([slope, intercept], rel=1e-6, abs=1e-6)
    assert [result.slope, result.intercept] == pytest.approx([expected.slope, expected.intercept], rel=1e-9, abs=1e-9)
    assert result.r_squared == pytest.approx(expected.rvalue**2, abs=1e-9)
    assert result.predict(accuracy) == pytest.approx(expected.intercept + expected.slope * accuracy, abs=1e-9)


def test_line_of_a_small_example() -> None:
    result = fit_line(np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 4.0]))

    assert result is not None
    assert (result.slope, result.intercept) == pytest.approx((1.5, 0.5))
    assert result.r_squared == pytest.approx(0.75)  # 1 - (0.25 + 1 + 0.25) / (1 + 1 + 4)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_fewer_than_three_models_have_no_line(number: int) -> None:
    assert fit_line(np.arange(number, dtype=np.float64), np.arange(number, dtype=np.float64)) is None


def test_models_of_equal_accuracy_have_no_line() -> None:
    assert fit_line(np.full(5, 0.7), np.array([0.1, 0.2, 0.3, 0.4, 0.5])) is None


def test_constant_values_have_no_r_squared() -> None:
    result = fit_line(np.array([0.25, 0.5, 0.75]), np.full(3, 0.25))

    assert result is not None
    assert (result.slope, result.intercept, result.r_squared) == (0, 0.25, None)


# lines of labels


def point(accuracy: float, value: float | None, label: str = "") -> TrendPoint:
    values = {} if value is None else {"model_failure": value}
    return TrendPoint("", "", label, False, accuracy, values)


def fits(points: list[TrendPoint]) -> dict:
    labels = sorted({point.label for point in points} - {""})
    return {fit.label: fit for fit in fits_of(points, ["model_failure"], labels)}


def test_each_label_has_a_line_and_a_shift() -> None:
    """Two labels are 0.1 above and 0.1 below the diagonal, so the overall line is the diagonal."""
    accuracies = (0.25, 0.5, 0.75)

    result = fits([point(x, x + 0.1, "above") for x in accuracies] + [point(x, x - 0.1, "below") for x in accuracies])

    assert list(result) == ["", "above", "below"]
    assert (result[""].fit.slope, result[""].fit.intercept) == pytest.approx((1, 0))
    assert result[""].fit.r_squared == pytest.approx(0.25 / (0.25 + 6 * 0.01))
    assert (result[""].num_models, result[""].shift) == (6, None)
    for label, shift in (("above", 0.1), ("below", -0.1)):
        assert result[label].num_models == 3
        assert (result[label].fit.slope, result[label].fit.intercept) == pytest.approx((1, shift))
        assert result[label].fit.r_squared == pytest.approx(1)
        assert result[label].shift == pytest.approx(shift)


def test_shift_is_the_mean_distance_from_the_overall_line() -> None:
    """The line through (0, 0), (1, 0), (2, 3), (3, 3) is 1.2 x - 0.3: the last two are 0.9 above and 0.3 below."""
    result = fits([point(0, 0), point(1, 0), point(2, 3, "last"), point(3, 3, "last")])

    assert (result[""].fit.slope, result[""].fit.intercept) == pytest.approx((1.2, -0.3))
    assert result["last"].shift == pytest.approx((0.9 - 0.3) / 2)


def test_models_without_a_label_count_only_in_the_overall_line() -> None:
    result = fits([point(x, x) for x in (0.1, 0.2, 0.3)] + [point(0.4, 0.4, "one")])

    assert set(result) == {"", "one"}
    assert result[""].num_models == 4


def test_label_of_two_models_has_a_shift_but_no_line() -> None:
    result = fits([point(x, x) for x in (0.0, 0.25, 0.75, 1.0)] + [point(0.25, 0.5, "two"), point(0.75, 1.0, "two")])

    assert result["two"].fit is None
    assert result["two"].num_models == 2
    assert result["two"].shift == pytest.approx(1 / 4 - 1 / 12)  # the line through all lies at x + 0.5 / 6


def test_two_models_have_neither_lines_nor_shifts() -> None:
    result = fits([point(0.1, 0.1, "one"), point(0.2, 0.2, "other")])

    assert [(fit.fit, fit.shift) for fit in result.values()] == [(None, None)] * 3
    assert [fit.num_models for fit in result.values()] == [2, 1, 1]


def test_models_of_equal_accuracy_have_neither_lines_nor_shifts() -> None:
    result = fits([point(0.7, value, "same") for value in (0.1, 0.2, 0.3, 0.4)])

    assert (result[""].fit, result["same"].fit, result["same"].shift) == (None, None, None)
    assert result[""].num_models == 4


def test_models_without_the_metric_are_skipped() -> None:
    result = fits([point(x, x, "known") for x in (0.1, 0.2, 0.3)] + [point(0.9, None, "known"), point(0.8, None, "no")])

    assert set(result) == {"", "known"}
    assert (result[""].num_models, result["known"].num_models) == (3, 3)
    assert result[""].fit.slope == pytest.approx(1)


def test_no_models_have_no_lines() -> None:
    (result,) = fits_of([], ["pooled"], [])

    assert (result.metric, result.label, result.fit, result.num_models) == ("pooled", "", None, 0)


# values


@settings(max_examples=200)
@given(st.lists(st.integers(0, 10_000), min_size=8, max_size=8), st.floats(0, 1))
def test_portions_are_shares_of_the_top1_errors_and_add_up(drawn: list[int], accuracy: float) -> None:
    counts = dict(zip(tuple(ErrorType), drawn, strict=True))
    errors = sum(drawn[1:])
    assume(errors)

    values = metric_values(counts, accuracy)

    assert set(values) == set(METRICS)
    assert sum(values[kind.key] for kind in tuple(ErrorType)[1:]) == pytest.approx(1)
    for kind in tuple(ErrorType)[1:]:
        assert values[kind.key] == pytest.approx(float(Fraction(counts[kind], errors)))
    assert values["pooled"] == pytest.approx(float(Fraction(sum(drawn[4:]), errors)))
    assert values["multi_label_accuracy"] == accuracy


def test_types_5_to_8_are_pooled() -> None:
    counts = dict(zip(tuple(ErrorType), (1000, 10, 20, 30, 1, 2, 3, 34), strict=True))

    values = metric_values(counts, None)

    assert values["pooled"] == pytest.approx(0.4)
    assert values["class_overlap"] == pytest.approx(0.1)
    assert values["fine_grained_oov"] == pytest.approx(0.01)
    assert "multi_label_accuracy" not in values


def test_models_without_errors_have_no_portions() -> None:
    counts = {**NO_ERRORS, ErrorType.CORRECT: 5}

    assert metric_values(counts, 1.0) == {"multi_label_accuracy": 1.0}
    assert metric_values(NO_ERRORS, None) == {}


def test_equal_values_have_a_line_without_r_squared() -> None:
    fit = fit_line(np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.55, 0.65]), np.full(7, 0.1))

    assert fit is not None
    assert (fit.slope, fit.r_squared) == (0.0, None)


def test_shift_is_relative_to_the_published_median() -> None:
    """The median is half the accuracy. Some models are 0.1 above, and one is outside of the knots."""
    knots = np.array([0.6, 0.7, 0.8])
    quantiles = np.tile(knots[:, None] / 2, (1, 99)).astype(np.float32)
    places = [(group, metric) for group in Group for metric in METRICS]
    curves = Curves("imagenet", 50, 0.6, 0.8, knots, dict.fromkeys(places, quantiles), {})
    points = [point(0.6, 0.4, "a"), point(0.75, 0.475, "a"), point(0.9, 0.1, "a"), point(0.65, 0.3)]

    result = {fit.label: fit for fit in fits_of(points, ["model_failure"], ["a"], curves, Group.ORGANISM)}

    assert result["a"].shift == pytest.approx(0.1)

"""Trends: lines compared with numpy and scipy, and the metrics of models."""

from fractions import Fraction

import numpy as np
import pytest
from example_counts import max_examples
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from service.domain import (
    ALL,
    AXES,
    METRICS,
    QUANTILES,
    Axis,
    AxisRange,
    Curves,
    ErrorType,
    GroupNumbers,
    Metric,
    TrendPoint,
)
from service.summary.trend import fit_line, fits_of, metric_intervals, metric_values
from service.taxonomy.imagenet_1k import GROUPS

NO_ERRORS = dict.fromkeys(tuple(ErrorType), 0)
ROUNDED = np.array([0.9199999999999999, 0.92, 0.9200000000000002])  # means over classes that equal 0.92


# lines


@st.composite
def models(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    number = draw(st.integers(3, 30))
    column = st.lists(st.integers(0, 1000), min_size=number, max_size=number)
    accuracy, values = draw(column), draw(column)
    assume(len(set(accuracy)) > 2 and len(set(values)) > 1)
    return np.array(accuracy) / 1000, np.array(values) / 1000


@max_examples(200)
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
    assert fit_line(ROUNDED, np.array([0.1, 0.2, 0.3])) is None


def test_models_of_two_accuracies_have_no_line() -> None:
    """A line through two points fits perfectly."""
    two = np.array([0.7, 0.9, 0.7, 0.9, 0.9])

    assert fit_line(two, np.array([0.1, 0.2, 0.1, 0.2, 0.2])) is None
    assert fit_line(np.array([*ROUNDED, 0.5, 0.5]), np.arange(5.0)) is None
    assert fit_line(np.array([*two, 0.8]), np.array([0.1, 0.2, 0.1, 0.2, 0.2, 0.3])) is not None


@pytest.mark.parametrize("values", [np.full(3, 0.25), ROUNDED])
def test_constant_values_have_no_r_squared(values: np.ndarray) -> None:
    result = fit_line(np.array([0.25, 0.5, 0.75]), values)

    assert result is not None
    assert (result.slope, result.intercept, result.r_squared) == (0, pytest.approx(values[0]), None)


# lines of labels


def axes_of(*metrics: Metric) -> dict[Metric, Axis]:
    return {metric: AXES[metric] for metric in metrics}


def point(accuracy: float, value: float | None, label: str = "") -> TrendPoint:
    values = {} if value is None else {"model_failure": value}
    return TrendPoint("", "", label, False, {Axis.TOP1: 0.9 - accuracy, Axis.MULTI_LABEL: accuracy}, values)


def fits(points: list[TrendPoint]) -> dict:
    labels = sorted({point.label for point in points} - {""})
    return {fit.label: fit for fit in fits_of(points, axes_of("model_failure"), labels)}


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
    (result,) = fits_of([], axes_of("pooled"), [])

    assert (result.metric, result.label, result.fit, result.num_models) == ("pooled", "", None, 0)


# values


@max_examples(200)
@given(st.lists(st.integers(0, 10_000), min_size=8, max_size=8), st.floats(0, 1))
def test_portions_are_shares_of_top1_errors_or_of_multi_label_errors(drawn: list[int], accuracy: float) -> None:
    """See spec/statistics, "trend axes"."""
    counts = dict(zip(tuple(ErrorType), drawn, strict=True))
    top1_errors, multi_label_errors = sum(drawn[1:]), sum(drawn[3:])
    assume(multi_label_errors)

    values = metric_values(GroupNumbers(counts, accuracy))

    assert set(values) == set(METRICS)
    for kind in tuple(ErrorType)[1:]:
        errors = top1_errors if kind.id in (2, 3) else multi_label_errors
        assert values[kind.key] == pytest.approx(float(Fraction(counts[kind], errors)))
    assert sum(values[kind.key] for kind in tuple(ErrorType)[3:]) == pytest.approx(1)
    assert values["pooled"] == pytest.approx(float(Fraction(sum(drawn[4:]), multi_label_errors)))
    assert values["multi_label_accuracy"] == accuracy


def test_types_5_to_8_are_pooled() -> None:
    counts = dict(zip(tuple(ErrorType), (1000, 10, 20, 30, 1, 2, 3, 34), strict=True))

    values = metric_values(GroupNumbers(counts, None))

    assert values["pooled"] == pytest.approx(40 / 70)
    assert values["class_overlap"] == pytest.approx(0.1)
    assert values["fine_grained_oov"] == pytest.approx(1 / 70)
    assert "multi_label_accuracy" not in values


def test_models_without_errors_have_no_portions() -> None:
    noise_only = {**NO_ERRORS, ErrorType.CORRECT: 5, ErrorType.CLASS_OVERLAP: 1}

    assert metric_values(GroupNumbers({**NO_ERRORS, ErrorType.CORRECT: 5}, 1.0)) == {"multi_label_accuracy": 1.0}
    assert metric_values(GroupNumbers(noise_only, None)) == {"class_overlap": 1.0, "multi_label": 0.0}
    assert metric_values(GroupNumbers(NO_ERRORS, None)) == {}


def test_equal_values_have_a_line_without_r_squared() -> None:
    fit = fit_line(np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.55, 0.65]), np.full(7, 0.1))

    assert fit is not None
    assert (fit.slope, fit.r_squared) == (0.0, None)


def test_shift_is_relative_to_the_published_median() -> None:
    """The median is half the multi-label accuracy. Some models are 0.1 above, and one is outside of the knots."""
    knots = np.array([0.6, 0.7, 0.8])
    quantiles = (knots[:, None] / 2 + QUANTILES - 0.5).astype(np.float32)
    places = [(group, metric) for group in (ALL, *GROUPS) for metric in METRICS]
    axes = {Axis.TOP1: AxisRange(0.1, 0.2, np.array([0.1, 0.2])), Axis.MULTI_LABEL: AxisRange(0.6, 0.8, knots)}
    curves = Curves("imagenet", 50, axes, dict.fromkeys(places, quantiles), {})
    points = [point(0.6, 0.4, "a"), point(0.75, 0.475, "a"), point(0.9, 0.1, "a"), point(0.65, 0.3)]

    result = {fit.label: fit for fit in fits_of(points, axes_of("model_failure"), ["a"], curves, "organism")}

    assert result["a"].shift == pytest.approx(0.1)


def test_lines_are_over_the_axis_of_their_metric() -> None:
    """Class overlaps grow with top-1 accuracy, and model failures fall with multi-label accuracy."""
    points = [
        TrendPoint(
            "",
            "",
            "",
            False,
            {Axis.TOP1: x, Axis.MULTI_LABEL: x**2},
            {"class_overlap": x / 4, "model_failure": 1 - x**2},
        )
        for x in (0.5, 0.6, 0.8)
    ]

    overlap, failure = fits_of(points, axes_of("class_overlap", "model_failure"), [])

    assert overlap.fit is not None and failure.fit is not None
    assert (overlap.fit.slope, overlap.fit.r_squared) == pytest.approx((0.25, 1))
    assert (failure.fit.slope, failure.fit.r_squared) == pytest.approx((-1, 1))


def test_fit_uses_the_requested_axis() -> None:
    points = [point(accuracy, 2 * accuracy) for accuracy in (0.1, 0.2, 0.3)]

    by_default, over_top1 = (
        fits_of(points, {"model_failure": axis}, [])[0].fit for axis in (Axis.MULTI_LABEL, Axis.TOP1)
    )

    assert by_default is not None and over_top1 is not None
    assert (by_default.slope, over_top1.slope) == pytest.approx((2, -2))


def test_intervals_are_score_intervals_of_the_portions() -> None:
    """The limits are the shares that the score test does not reject at 5 %: |count - n p| <= 1.96 sqrt(n p (1 - p))."""
    counts = dict.fromkeys(ErrorType, 0) | {ErrorType.MODEL_FAILURE: 8, ErrorType.FINE_GRAINED: 32}

    intervals = metric_intervals(GroupNumbers(counts, 0.5))

    shares = np.linspace(0, 1, 100_001)
    for metric, count in (("model_failure", 8), ("fine_grained", 32), ("spurious_correlation", 0)):
        accepted = shares[np.abs(count - 40 * shares) <= 1.959964 * np.sqrt(40 * shares * (1 - shares))]
        assert intervals[metric] == pytest.approx((accepted.min(), accepted.max()), abs=2e-5)
    assert metric_intervals(GroupNumbers(dict.fromkeys(ErrorType, 0), None)) == {}

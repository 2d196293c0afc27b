"""Percentiles of models compared with slow definitions, their intervals with resampled images, and their conditions."""

from dataclasses import replace
from itertools import chain, combinations, permutations
from typing import Any

import numpy as np
import pytest
from example_counts import max_examples
from hypothesis import example, given
from hypothesis import strategies as st

from service.domain import (
    ALL,
    METRICS,
    QUANTILES,
    Axis,
    AxisRange,
    Curves,
    ErrorType,
    GroupNumbers,
    NoReferenceReason,
    PercentileRank,
    StoredResult,
)
from service.summary.percentiles import has_reference, percentile_ranks_of, percentiles_of, quantiles_at, shown_metrics
from service.taxonomy.imagenet_1k import GROUPS

MAY_ABSTAIN = (ErrorType.FINE_GRAINED_OOV, ErrorType.SPURIOUS_CORRELATION, ErrorType.NON_PROTOTYPICAL)
SUBSETS = [*chain.from_iterable(combinations(MAY_ABSTAIN, size) for size in range(4))]
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


def percentile_of(quantiles: np.ndarray, value: float) -> float:
    (percentile,) = percentiles_of(np.asarray(quantiles)[None, :], np.array([value])).tolist()
    return float(percentile)


# percentiles


@pytest.mark.slow
@max_examples(300)
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


@max_examples(200)
@given(st.lists(st.integers(0, 30), min_size=20, max_size=50), st.data())
def test_percentile_from_quantiles_agrees_with_that_among_models(models: list[int], data: st.DataObject) -> None:
    """The error is at most the share of one model and half a percent."""
    value = data.draw(st.sampled_from(models))

    percentile = percentile_of(np.quantile(models, QUANTILES), value)

    assert abs(percentile - share_lower(models, value)) <= 0.5 / len(models) + 0.006


@max_examples(100)
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
    (result,) = quantiles_at(np.array([0.25, 0.5, 0.75, 1.0]), rows_of(1, 3, 5, 11), np.array([accuracy]))

    assert result == pytest.approx(first + STEPS)


@pytest.mark.parametrize(
    ("accuracy", "known"),
    [(0.25, False), (0.375, False), (0.5, True), (0.625, True), (0.75, True), (0.875, False), (1.0, False)],
)
def test_interval_next_to_a_knot_with_too_few_models_has_no_quantiles(accuracy: float, known: bool) -> None:
    """Both outer knots have too few models."""
    nan = float("nan")

    (result,) = quantiles_at(np.array([0.25, 0.5, 0.75, 1.0]), rows_of(nan, 3, 5, nan), np.array([accuracy]))

    assert np.isnan(result).all() != known
    assert np.isnan(percentile_of(result, 0.5)) != known


# ranks


def numbers(counts: tuple[int, ...], accuracy: float | None = None) -> GroupNumbers:
    """Return the numbers of a group; without accuracy, it is the share of correct images."""
    accuracy = sum(counts[:3]) / sum(counts) if accuracy is None and sum(counts) else accuracy
    return GroupNumbers(dict(zip(tuple(ErrorType), counts, strict=True)), accuracy)


# 10,000 images: 80 % top-1 accuracy, 85 % multi-label accuracy; 100 and 400 of 2,000 top-1 errors,
# 300, 150, 150, 150, and 750 of 1,500 multi-label errors
COUNTS = (8000, 100, 400, 300, 150, 150, 150, 750)
VALUES = {
    "class_overlap": 0.05,
    "multi_label": 0.2,
    "fine_grained": 0.2,
    "fine_grained_oov": 0.1,
    "spurious_correlation": 0.1,
    "non_prototypical": 0.1,
    "model_failure": 0.5,
    "pooled": 0.8,
    "multi_label_accuracy": 0.85,
}
OVER_TOP1 = ("class_overlap", "multi_label", "multi_label_accuracy")  # metrics whose axis is top-1 accuracy


def result(
    counts: tuple[int, ...] = COUNTS,
    group: GroupNumbers | None = None,
    abstained: tuple[ErrorType, ...] = (),
    accuracy: float | None = None,
) -> StoredResult:
    overall = numbers(counts, accuracy)
    top1 = counts[0] / sum(counts) if sum(counts) else None
    return StoredResult("a", "A", {}, "", "", ("", ""), abstained, top1, overall, group or overall)


def curves(ranges: dict[Axis, tuple[float, float]] | None = None, width: float = 1.0) -> Curves:
    """Create curves with values that are uniform around those of the model, and too few models near 25 %."""
    knots = np.array([0.25, 0.5, 0.75, 1.0])
    quantiles = {
        (group, metric): np.vstack([np.full(99, np.nan)] + [value + width * (STEPS - 0.5)] * 3)
        for group in (ALL, *GROUPS)
        for metric, value in VALUES.items()
    }
    axes = {axis: AxisRange(*(ranges or {}).get(axis, (0.3, 0.95)), knots) for axis in Axis}
    return Curves("imagenet", 962, axes, quantiles, {})


def ranks_of(
    model: StoredResult, reference: Curves | None = None, group: str = ALL, own_superclasses: bool = False
) -> dict[str, Any]:
    ranks = percentile_ranks_of(reference or curves(), group, model, own_superclasses)
    return {rank.metric: rank for rank in ranks}


def test_ranks_have_the_values_of_the_model_and_its_percentiles() -> None:
    ranks = ranks_of(result())

    assert set(ranks) == set(METRICS) - {"pooled"}
    for metric, rank in ranks.items():
        assert rank.missing is None
        assert rank.value == pytest.approx(VALUES[metric])
        assert rank.percentile == pytest.approx(0.5)
        assert 0 < rank.low < 0.5 < rank.high < 1


@pytest.mark.parametrize("axis", Axis)
def test_accuracy_on_the_axis_of_the_metric_must_be_in_the_published_range(axis: Axis) -> None:
    """The top-1 accuracy is 0.8, and the multi-label accuracy 0.85. The bounds are part of the range."""
    accuracy = 0.8 if axis is Axis.TOP1 else 0.85
    for lowest, highest, is_inside in (
        (accuracy, 0.95, True),
        (0.3, accuracy, True),
        (accuracy + 1e-12, 0.95, True),  # a difference by rounding
        (0.3, accuracy - 1e-12, True),
        (accuracy + 1e-4, 0.95, False),
        (0.3, accuracy - 1e-4, False),
    ):
        ranks = ranks_of(result(), curves({axis: (lowest, highest)}))
        assert set(ranks) == set(METRICS) - {"pooled"}
        for metric, rank in ranks.items():
            is_on_axis = (metric in OVER_TOP1) == (axis is Axis.TOP1)
            if is_inside or not is_on_axis:
                assert rank.percentile is not None
            else:
                assert rank == PercentileRank(metric, rank.value, None, NoReferenceReason.ACCURACY)
                assert rank.value == pytest.approx(VALUES[metric])


def test_accuracy_near_too_few_models_has_no_percentile() -> None:
    """The knot at 25 % has too few models, so neither accuracy of 40 and 45 % has a percentile."""
    ranks = ranks_of(result((4000, 100, 400, 300, 150, 150, 150, 4750)))

    assert set(ranks) == set(METRICS) - {"pooled"}
    for metric, rank in ranks.items():
        assert rank == PercentileRank(metric, rank.value, None, NoReferenceReason.FEW)


def test_model_without_errors_has_no_portions() -> None:
    ranks = ranks_of(result((900, 5, 95, 0, 0, 0, 0, 0), accuracy=0.9))

    for metric in set(ranks) - set(OVER_TOP1):
        assert ranks[metric] == PercentileRank(metric, None, None, NoReferenceReason.NO_VALUE)
    assert ranks["class_overlap"].value == 0.05
    assert ranks_of(result((0,) * 8)) == {}


# intervals


@pytest.mark.parametrize("metric", ["class_overlap", "model_failure"])
def test_interval_is_that_of_resampled_images(metric: str) -> None:
    """Quantiles between knots depend on accuracy, which is resampled with the portion."""
    inside = (700, 60, 40, 90, 10, 10, 10, 80)
    value = 0.2 if metric == "class_overlap" else 0.4  # 60 of 300 top-1 errors, 80 of 200 multi-label errors
    rows = np.vstack([value + slope + 0.3 * (STEPS - 0.5) for slope in (np.nan, 0, -0.1, 0.5)])
    whole = curves()
    reference = Curves("imagenet", 962, whole.axes, {("other", metric): rows}, {})
    outside = [total - part for total, part in zip(COUNTS, inside, strict=True)]
    images = np.repeat([*range(8), *range(8, 16)], [*inside, *outside])  # types in the group, and outside of it
    generator, expected = np.random.default_rng(8), []
    for _ in range(1000):
        drawn = generator.choice(images, len(images))
        correct, errors, kind = ((0,), 1, 1) if metric == "class_overlap" else ((0, 1, 2), 3, 7)
        accuracy = np.isin(drawn % 8, correct).mean()
        share = (drawn == kind).sum() / ((drawn >= errors) & (drawn < 8)).sum()
        low = rows[2] + (accuracy - 0.75) / 0.25 * (rows[3] - rows[2])
        expected.append(share_lower([*low.tolist(), share], share))

    rank = ranks_of(result(group=numbers(inside)), reference, "other")[metric]

    assert rank.value == pytest.approx(value)
    assert rank.low == pytest.approx(np.percentile(expected, 2.5), abs=0.04)
    assert rank.high == pytest.approx(np.percentile(expected, 97.5), abs=0.04)


@pytest.mark.parametrize(("width", "is_shown"), [(0.11, True), (0.09, False)])
def test_percentile_with_an_interval_over_half_of_the_scale_is_withheld(width: float, is_shown: bool) -> None:
    """750 of 1,500 errors are failures, so the 95 % interval of the portion is 0.5 ± 0.025."""
    rank = ranks_of(result(), curves(width=width))["model_failure"]

    assert rank.high - rank.low == pytest.approx(0.05 / width, rel=0.1)
    assert rank.percentile == (pytest.approx(0.5) if is_shown else None)
    assert rank.missing is (None if is_shown else NoReferenceReason.INDISTINCT)


@pytest.mark.parametrize(("width", "is_shown"), [(0.5, True), (0.2, False)])
def test_interval_of_a_portion_of_0_or_1_is_that_of_its_score_interval(width: float, is_shown: bool) -> None:
    """The 95 % score interval of 0 of 24 errors is 0 to 13.8 %, and that of 24 of 24 errors is 86.2 to 100 %."""
    rows = {"fine_grained": width * STEPS, "model_failure": 1 - width * STEPS[::-1]}
    quantiles = {(ALL, metric): np.tile(row, (4, 1)) for metric, row in rows.items()}

    ranks = ranks_of(result((276, 0, 0, 0, 0, 0, 0, 24)), replace(curves(), quantiles=quantiles))

    share = 0.138 / width
    for metric, percentile, low, high in (
        ("fine_grained", 0.005, 0.005, share),
        ("model_failure", 0.995, 1 - share, 0.995),
    ):
        assert (ranks[metric].low, ranks[metric].high) == pytest.approx((low, high), abs=0.006)
        assert ranks[metric].percentile == (pytest.approx(percentile) if is_shown else None)
        assert ranks[metric].missing is (None if is_shown else NoReferenceReason.INDISTINCT)


def test_intervals_are_deterministic() -> None:
    assert ranks_of(result()) == ranks_of(result())


def test_multi_label_accuracy_has_a_percentile_over_all_images_only() -> None:
    """Its interval in a group would need the classes of the images."""
    assert "multi_label_accuracy" in ranks_of(result())
    assert "multi_label_accuracy" not in ranks_of(result(), group="other")


# comparable metrics


def test_types_after_the_correct_ones_need_the_superclasses_of_the_authors() -> None:
    ranks = ranks_of(result(), own_superclasses=True)

    assert {metric for metric, rank in ranks.items() if rank.percentile is not None} == set(OVER_TOP1)
    for metric, rank in ranks.items():
        assert has_reference(metric, own_superclasses=True) == (metric in OVER_TOP1)
        assert has_reference(metric, own_superclasses=False)
        assert rank.value == pytest.approx(VALUES[metric])
        assert metric in OVER_TOP1 or rank.missing is NoReferenceReason.SUPERCLASSES


@pytest.mark.parametrize("abstained", SUBSETS, ids=lambda types: "+".join(kind.name for kind in types) or "none")
def test_metrics_need_the_evidence_of_all_earlier_rules(abstained: tuple[ErrorType, ...]) -> None:
    """See spec/statistics, "when a percentile is allowed"."""
    compared = set()
    for kind in tuple(ErrorType)[1:]:
        earlier = [error_type for error_type in ErrorType if error_type.position <= kind.position]
        if not any(error_type in abstained for error_type in earlier):
            compared.add(kind.key)
    pooled = {"pooled"} if len(compared) < 7 else set()

    shown = shown_metrics(abstained)

    assert set(shown) == compared | pooled | {"multi_label_accuracy"}
    assert len(shown) == len(set(shown))


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
            ranks = ranks_of(result(abstained=order))
            assert {kind.id for kind in ErrorType if kind.key in ranks} == compared
            assert ranks["pooled"].percentile == pytest.approx(0.5)


def test_types_are_pooled_only_if_a_rule_abstained() -> None:
    assert "pooled" not in shown_metrics(())

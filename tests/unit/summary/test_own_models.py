"""Percentiles among own models, compared with a slow implementation in fractions, and the choice of the models."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from example_counts import max_examples
from hypothesis import example, given
from hypothesis import strategies as st

from service.domain import (
    ALL,
    AXES,
    ERROR_TYPES,
    METRICS,
    Axis,
    ErrorType,
    GroupNumbers,
    NoReferenceReason,
    StoredResult,
)
from service.evidence.bundle import Bundle
from service.report.messages.trend import percentile_text
from service.summary.own_models import OwnModels
from service.summary.percentiles import percentile_ranks_among

SAMPLES = 1000
METRIC = "model_failure"
# A model of the tests: top-1 accuracy and value of the metric, both in thousandths; value None: no errors.
Model = tuple[int, int | None]
MODELS = st.lists(
    st.tuples(st.integers(400, 520), st.none() | st.integers(0, 8).map(lambda step: 125 * step)),
    min_size=18,
    max_size=90,
)


def slow_percentile(models: Sequence[Model], accuracy: int, value: int) -> Fraction | None:
    """Return the share of the nearest models with a lower value by the definition (spec/statistics)."""
    known = [model for model in models if model[1] is not None]
    distances = sorted(abs(other - accuracy) for other, _ in known)
    farthest = min(25, distances[49]) if len(distances) >= 50 else 25
    neighbors = [other for place, other in known if abs(place - accuracy) <= farthest and other is not None]
    if len(neighbors) < 20:
        return None
    return sum((Fraction(other < value) + Fraction(other == value, 2) for other in neighbors), Fraction(0)) / len(
        neighbors
    )


def table_of(models: Sequence[Model]) -> OwnModels:
    accuracies = np.array([accuracy / 1000 for accuracy, _ in models])
    values = np.array([np.nan if value is None else value / 1000 for _, value in models])
    return OwnModels(
        tuple(str(number) for number in range(len(models))),
        dict.fromkeys(Axis, accuracies),
        dict.fromkeys(METRICS, values),
    )


@max_examples(200)
@given(MODELS, st.integers(380, 540), st.integers(0, 8).map(lambda step: 125 * step))
@example(models=[(450, 250)] * 80, accuracy=450, value=250)  # all are as near as the 50th
@example(models=[(440, 0)] * 30 + [(460, 1000)] * 30, accuracy=450, value=500)  # the 50th is on both sides
@example(models=[(425, 0)] * 10 + [(475, 0)] * 10, accuracy=450, value=500)  # at the greatest distance
@example(models=[(424, 0)] * 10 + [(475, 0)] * 19, accuracy=450, value=500)
def test_share_of_lower_values_agrees_with_the_definition(models: list[Model], accuracy: int, value: int) -> None:
    shares = table_of(models).shares_of_lower(METRIC, np.array([accuracy / 1000]), np.array([value / 1000]))

    expected = slow_percentile(models, accuracy, value)
    assert np.isnan(shares[0]) if expected is None else shares[0] == pytest.approx(float(expected))


@max_examples(50)
@given(MODELS, st.lists(st.tuples(st.integers(380, 540), st.integers(0, 1000)), min_size=2, max_size=9), st.randoms())
def test_shares_depend_neither_on_other_values_nor_on_the_order_of_models(
    models: list[Model], points: list[tuple[int, int]], random: object
) -> None:
    accuracies, values = (np.array(column) / 1000 for column in zip(*points, strict=True))
    together = table_of(models).shares_of_lower(METRIC, accuracies, values)

    random.shuffle(models)  # type: ignore[attr-defined]

    alone = [
        table_of(models).shares_of_lower(METRIC, accuracies[[place]], values[[place]])[0]
        for place in range(len(points))
    ]
    np.testing.assert_array_equal(together, alone)


def result(
    number: int, model: str = "", version: str = "", failures: int = 100, title: str = "upload", right: int = 600
) -> StoredResult:
    """Return a result of 1,000 images: right ones, model failures, and fine-grained errors."""
    counts = dict.fromkeys(ERROR_TYPES, 0) | {
        ErrorType.CORRECT: right,
        ErrorType.MODEL_FAILURE: failures,
        ErrorType.FINE_GRAINED: SAMPLES - right - failures,
    }
    numbers = GroupNumbers(counts, right / SAMPLES)
    return StoredResult(
        f"a{number:04}", title, {}, "", f"digest {number}", (model, version), (), right / SAMPLES, numbers, numbers
    )


def test_models_are_identified_by_name_then_display_name_then_predictions() -> None:
    models = OwnModels.of(
        [
            result(1, "net", "1"),
            result(2, "net", "2"),
            result(3, title="mine"),
            result(4, title="mine"),
            result(5),
            result(6),
        ]
    )

    assert sorted(models.keys) == ["digest 5", "digest 6", "mine", "net"]


@pytest.mark.parametrize(
    ("versions", "latest"),  # of the analyses, oldest first; the position of the one that counts
    [("123", 2), ("121", 1), ("1212", 3), ("211", 2), ("2111", 3)],
)
def test_latest_version_is_the_one_whose_first_analysis_is_newest(versions: str, latest: int) -> None:
    results = [
        replace(result(9 - place, "net", version, failures=place), create_time=place)
        for place, version in enumerate(versions)
    ]

    assert OwnModels.of(results).values[METRIC].tolist() == [latest / 400]
    assert OwnModels.of(results[::-1]).values[METRIC].tolist() == [latest / 400]


def test_other_models_with_the_same_predictions_do_not_change_the_latest_version() -> None:
    titles, digests = ("trial", "net", "net"), ("P", "Q", "P")
    results = [
        replace(result(9 - place, title=title, failures=place), create_time=place, predictions_digest=digest)
        for place, (title, digest) in enumerate(zip(titles, digests, strict=True))
    ]

    models = OwnModels.of(results)

    assert dict(zip(models.keys, models.values[METRIC].tolist(), strict=True)) == {"trial": 0.0, "net": 2 / 400}


def test_reference_of_a_model_has_none_of_its_versions() -> None:
    results = [result(number, f"net {number % 5}", str(number)) for number in range(10)]

    others = OwnModels.of(results).without(result(99, "net 3", "of another analysis"))

    assert sorted(others.keys) == ["net 0", "net 1", "net 2", "net 4"]
    assert len(others.accuracies[Axis.TOP1]) == len(others.values[METRIC]) == 4


def test_results_without_samples_are_no_reference() -> None:
    nothing = GroupNumbers(dict.fromkeys(ERROR_TYPES, 0), None)
    empty = StoredResult("a1", "a", {}, "", "digest", ("a", ""), (), None, nothing, nothing)

    assert len(OwnModels.of([empty])) == 0


def reference(count: int, spread: int = 1) -> OwnModels:
    """Return models around 60 % accuracy with 101, 102, … model failures."""
    return OwnModels.of(
        result(number, f"net {number}", failures=101 + number, right=600 + spread * (number - count // 2))
        for number in range(count)
    )


def test_percentile_is_the_share_of_the_models_with_a_lower_value() -> None:
    """The models have 101 to 140 failures in 400 errors, and the other errors are fine-grained. A tie counts half."""
    model, others = result(99, "mine", failures=102), reference(40, spread=0)

    ranks = {rank.metric: rank for rank in percentile_ranks_among(others, ALL, model)}

    assert ranks[METRIC].percentile == pytest.approx(1.5 / 40)
    assert ranks[METRIC].low is not None
    assert ranks["fine_grained"].percentile == pytest.approx(38.5 / 40)


def test_model_without_a_type_that_no_model_has_equals_the_others() -> None:
    """Other images of the model could show such an error, and no other model would have as many."""
    (rank,) = (
        rank for rank in percentile_ranks_among(reference(40), ALL, result(99)) if rank.metric == "class_overlap"
    )

    assert (rank.percentile, rank.low, rank.high, rank.missing) == (0.5, 0.5, 1, None)
    assert percentile_text(rank) == "as many class overlaps as similarly accurate models"


def test_intervals_resample_the_images_of_the_model() -> None:
    """Each draw takes its neighbors at its own accuracy; the interval contains the percentile."""
    model = result(99, "mine", failures=390, right=600)  # nearly all errors are model failures
    others = OwnModels.of(
        result(number, f"net {number}", failures=5 * number, right=590 + number % 20) for number in range(40)
    )
    ranks = {rank.metric: rank for rank in percentile_ranks_among(others, ALL, model)}

    assert (ranks[METRIC].percentile, ranks[METRIC].low, ranks[METRIC].high) == (1, 1, 1)
    assert (ranks["fine_grained"].percentile, ranks["fine_grained"].high) == (0, 0)


def test_the_mean_over_unequal_classes_varies_more_than_the_share_of_images() -> None:
    """A bootstrap of images in classes of 360, 6, 5, and 4, with equal rates, gives the scale of its draws."""
    sizes, generator = np.array([360, 6, 5, 4]), np.random.default_rng(3)
    means = np.stack([generator.binomial(size, 0.7, 20_000) / size for size in sizes]).mean(axis=0)
    shares = generator.binomial(sizes.sum(), 0.7, 20_000) / sizes.sum()
    targets, problematic = np.repeat([0, 2, 3, 7], sizes), np.zeros(375, dtype=bool)
    bundle = SimpleNamespace(evidence=SimpleNamespace(effective_targets=targets, problematic=problematic))
    scale = Bundle.class_mean_scale.func(cast(Bundle, bundle))
    assert scale == pytest.approx(means.std() / shares.std(), rel=0.03)

    model = result(99, "mine")
    numbers = GroupNumbers({kind: 100 * count for kind, count in model.overall.counts.items()}, 0.6)
    model = replace(model, overall=numbers, group=numbers)
    one, scaled = (
        {rank.metric: rank for rank in percentile_ranks_among(reference(40), ALL, model, factor)}
        for factor in (1.0, scale)
    )
    narrow, wide = one["multi_label_accuracy"], scaled["multi_label_accuracy"]
    assert narrow.low is not None and narrow.high is not None and wide.low is not None and wide.high is not None
    assert wide.low < narrow.low < narrow.high < wide.high


def test_draws_of_an_accuracy_are_at_most_all_images() -> None:
    """A third of the models have no errors. Draws of 99.8 % tie with them, but are not higher."""
    others = OwnModels.of(
        result(number, f"net {number}", failures=0, right=1000 if number < 12 else 985 + number % 13)
        for number in range(40)
    )
    model = result(99, "mine", failures=2, right=998)

    ranks = {rank.metric: rank for rank in percentile_ranks_among(others, ALL, model, class_mean_scale=2.0)}

    assert ranks["multi_label_accuracy"].high == pytest.approx((28 + 12 / 2) / 40)


def test_draws_are_around_the_top1_accuracy_if_labels_reject_predicted_targets() -> None:
    """Verdicts do not count 40 of 1,000 images whose prediction is their target, which the labels reject.

    The portion of missing multi-labels among top-1 errors falls with accuracy, so a shift of the draws is visible.
    """

    def model(number: int, correct: int, multi_label: int) -> StoredResult:
        counts = dict.fromkeys(ERROR_TYPES, 0) | {
            ErrorType.CORRECT: correct * 100,
            ErrorType.MULTI_LABEL: multi_label,
            ErrorType.MODEL_FAILURE: 100 * (SAMPLES - correct) - multi_label,
        }
        numbers = GroupNumbers(counts, correct / SAMPLES)
        accuracy = (correct + 40) / SAMPLES
        return StoredResult(f"a{number}", f"net {number}", {}, "", "", ("", ""), (), accuracy, numbers, numbers)

    others = OwnModels.of(
        model(number, correct, 100 * (SAMPLES - correct) * (1360 - correct) // 2000)
        for number, correct in enumerate(range(660, 780, 2))
    )

    ranks = {rank.metric: rank for rank in percentile_ranks_among(others, ALL, model(99, 720, 28 * 320))}

    rank = ranks["multi_label"]
    assert rank.percentile == pytest.approx(0.5, abs=0.02)
    assert rank.low < rank.percentile < rank.high


def test_percentile_needs_enough_neighbors_of_the_draws() -> None:
    """All models are at the greatest distance of this accuracy, so other accuracies have only half of the models."""
    others = OwnModels.of(result(number, f"net {number}", right=right) for number, right in enumerate([575, 625] * 10))
    large = result(99, "mine")
    numbers = GroupNumbers({kind: 10**6 * count for kind, count in large.overall.counts.items()}, 0.6)

    ranks = percentile_ranks_among(others, ALL, replace(large, overall=numbers, group=numbers))

    assert {rank.missing for rank in ranks if rank.value is not None} == {NoReferenceReason.FEW}


@pytest.mark.parametrize(("count", "expected"), [(19, 0), (20, 1)])
def test_percentiles_need_20_other_models(count: int, expected: int) -> None:
    ranks = percentile_ranks_among(reference(count), ALL, result(99, "mine"))

    assert bool(ranks) is bool(expected)


def test_models_that_are_too_far_away_are_no_neighbors() -> None:
    ranks = percentile_ranks_among(reference(30, spread=9), ALL, result(99, "mine"))

    assert {rank.missing for rank in ranks if rank.value is not None} == {NoReferenceReason.FEW}


@pytest.mark.parametrize("right", [500, 700])
def test_accuracy_outside_of_the_range_of_the_models_has_no_percentile(right: int) -> None:
    ranks = percentile_ranks_among(reference(40), ALL, result(99, "mine", right=right))

    assert {rank.missing for rank in ranks if rank.value is not None} == {NoReferenceReason.ACCURACY}


def test_neighbors_are_chosen_on_the_axis_of_the_metric() -> None:
    """Multi-label accuracies are far apart, top-1 accuracies are not."""
    others = reference(40)
    spread = np.linspace(0, 1, 40)
    others = OwnModels(others.keys, {**others.accuracies, Axis.MULTI_LABEL: spread}, others.values)

    ranks = {rank.metric: rank for rank in percentile_ranks_among(others, ALL, result(99, "mine"))}

    assert {AXES[metric] for metric, rank in ranks.items() if rank.missing is NoReferenceReason.FEW} == {
        Axis.MULTI_LABEL
    }
    assert ranks["multi_label_accuracy"].missing is not NoReferenceReason.FEW

"""Aggregates, compared with the oracle."""

from dataclasses import dataclass

import numpy as np
import pytest
from example_counts import max_examples
from hypothesis import example, given
from hypothesis import strategies as st
from oracle.aggregates import Aggregates, aggregate, gain_if_fixed_mla, gain_if_fixed_top1, imagenet_m_errors
from oracle.verdicts import Sample, Verdict

from service.domain import ALL, ErrorType, GroupSummary, Predictions, Summary, build_strata
from service.summary.summarize import SampleResults, summarize
from service.taxonomy.imagenet_1k import GROUPS

CLASSES = (0, 1, 2, 500, 998, 999)
MEMBERS = {
    "organism": {0, 1},
    "artifact": {1, 500},
    "other": {998, 999},
}  # class 1 is in two groups, 2 in none


@dataclass(frozen=True)
class Row:
    """An evaluated sample and its verdict; type 0: no prediction."""

    sample: Sample
    error_type: int
    predicted: int
    named: bool  # one of the samples of ImageNet-M


@st.composite
def rows(draw: st.DrawFn, rejects: bool = False) -> Row:
    target = draw(st.sampled_from(CLASSES))
    problematic = draw(st.booleans())
    labels = draw(st.frozensets(st.sampled_from(CLASSES), max_size=3))
    if rejects and not problematic and labels - {target} and draw(st.booleans()):
        return draw(_rejected(target, labels - {target}))
    error_type = draw(st.integers(0, 8))
    other = draw(st.sampled_from([class_ for class_ in CLASSES if class_ != target]))
    predicted = {0: -1, 1: target}.get(error_type, other)
    sample = Sample(target, labels if problematic else labels | {target}, problematic, False)
    return Row(sample, error_type, predicted, draw(st.booleans()))


@st.composite
def _rejected(draw: st.DrawFn, target: int, labels: frozenset[int]) -> Row:
    """A sample whose labels reject the target. No type of its verdict says whether the prediction is the target."""
    error_type = draw(st.sampled_from((0, *range(2, 9))))
    predicted = draw(st.sampled_from(CLASSES)) if error_type else -1
    sample = Sample(target, labels, False, False, draw(st.sampled_from(sorted(labels))))
    return Row(sample, error_type, predicted, draw(st.booleans()))


def summarize_rows(judged: list[Row], others: list[tuple[int, int]], named: bool = True) -> Summary:
    """Summarize samples. `others` are (target, prediction) of images that are not evaluated."""
    counted = [not row.sample.problematic and row.error_type != 0 for row in judged]
    groups = [[bool(row.sample.multi_labels & members) for row in judged] for members in MEMBERS.values()]
    return summarize(
        results=SampleResults(
            np.array([row.error_type for row in judged], dtype=np.uint8),
            is_target=np.array([row.predicted == row.sample.target for row in judged], dtype=bool),
            is_label=np.array([row.predicted in row.sample.multi_labels for row in judged], dtype=bool),
            rejected=np.array([row.sample.is_rejected for row in judged], dtype=bool),
        ),
        strata=build_strata(
            np.array([row.sample.e for row in judged], dtype=np.int16),
            np.array(counted, dtype=bool),
            {group: np.array(members, dtype=bool) for group, members in zip(GROUPS, groups, strict=True)},
        ),
        abstained=(ErrorType.FINE_GRAINED_OOV,),
        predictions=Predictions(
            np.array([row.predicted for row in judged] + [predicted for _, predicted in others], dtype=np.int16)
        ),
        all_targets=np.array([row.sample.target for row in judged] + [target for target, _ in others], dtype=np.int16),
        imagenet_m=np.array([row.named for row in judged], dtype=bool) if named else None,
    )


def agree(actual: GroupSummary, expected: Aggregates) -> None:
    """Compare all values, including absent rates."""
    assert actual.num_samples == expected.num_samples
    assert {kind.id: count for kind, count in actual.counts.items()} == expected.counts
    assert actual.top1_errors == expected.top1_errors
    _same(actual.top1_accuracy, expected.top1_accuracy)
    _same(actual.multi_label_accuracy, expected.mla)
    correct = sum(expected.counts[kind] for kind in (1, 2, 3))
    _same(actual.image_multi_label_accuracy, correct / expected.num_samples if expected.num_samples else None)
    _same(actual.multi_label_accuracy_forgiving_minor, expected.mla_minor)
    _same(actual.multi_label_accuracy_forgiving_explainable, expected.mla_explainable)
    _same(actual.accuracy_against_labels, expected.accuracy_against_labels)
    _same(actual.image_multi_label_accuracy, expected.image_level_mla)
    for kind, share in expected.portions_top1.items():
        _same(actual.portions_of_top1_errors.get(ErrorType(kind)), share)
    for kind, share in expected.portions_multi_label.items():
        _same(actual.portions_of_multi_label_errors.get(ErrorType(kind)), share)


def _same(actual: float | None, expected: float | None) -> None:
    assert (actual is None) == (expected is None), (actual, expected)
    if actual is not None and expected is not None:
        assert actual == pytest.approx(expected, abs=1e-12)


@max_examples(200)
@given(st.lists(rows(rejects=True), max_size=40))
def test_summaries_agree_with_the_oracle(judged: list[Row]) -> None:
    summary = summarize_rows(judged, [])

    predicted = [row for row in judged if row.predicted >= 0]
    samples = [row.sample for row in predicted]
    predictions = [row.predicted for row in predicted]
    verdicts = [Verdict(row.error_type) for row in predicted]
    for group in (ALL, *GROUPS):
        agree(summary.groups[group], aggregate(samples, predictions, verdicts, MEMBERS.get(group)))
    assert summary.num_problematic == sum(sample.problematic for sample in samples)
    assert summary.num_rejected_targets == sum(sample.is_rejected for sample in samples)
    named = {number for number, row in enumerate(predicted) if row.named}
    is_complete = all(row.predicted >= 0 for row in judged if row.named)
    assert summary.imagenet_m_errors == (imagenet_m_errors(named, samples, verdicts) if is_complete else None)
    assert summary.abstained == (ErrorType.FINE_GRAINED_OOV,)


@pytest.mark.slow
@max_examples(200)
@given(st.lists(rows(rejects=True), max_size=40))
def test_gains_agree_with_the_oracle(judged: list[Row]) -> None:
    summary = summarize_rows(judged, [])

    predicted = [row for row in judged if row.predicted >= 0]
    samples, verdicts = [row.sample for row in predicted], [Verdict(row.error_type) for row in predicted]
    for group in (ALL, *GROUPS):
        actual, members = summary.groups[group], MEMBERS.get(group)
        for gains, expected in (
            (actual.gain_if_fixed_top1, gain_if_fixed_top1(samples, verdicts, members)),
            (actual.gain_if_fixed_multi_label, gain_if_fixed_mla(samples, verdicts, members)),
        ):
            is_absent = gains is actual.gain_if_fixed_top1 and summary.num_rejected_targets
            assert {kind.id for kind in gains} == (set(range(2, 9)) if actual.num_samples and not is_absent else set())
            for kind, gain in expected.items():
                _same(gains.get(ErrorType(kind)), gain)


@pytest.mark.slow
@max_examples(200)
@given(st.lists(rows(), min_size=1, max_size=40))
def test_gains_add_up_to_the_error_rate(judged: list[Row]) -> None:
    for group in summarize_rows(judged, []).groups.values():
        if group.num_samples:
            top1, multi_label = group.gain_if_fixed_top1, group.gain_if_fixed_multi_label
            assert group.top1_accuracy + sum(top1.values()) == pytest.approx(1)
            assert group.multi_label_accuracy + sum(multi_label.values()) == pytest.approx(1)
            assert group.multi_label_accuracy_forgiving_minor == pytest.approx(
                group.multi_label_accuracy
                + multi_label[ErrorType.FINE_GRAINED]
                + multi_label[ErrorType.FINE_GRAINED_OOV]
            )


@max_examples(100)
@given(
    st.lists(rows(), max_size=6),
    st.lists(st.tuples(st.sampled_from(CLASSES), st.sampled_from((-1, *CLASSES))), max_size=6),
)
def test_accuracy_over_all_images_needs_all_predictions(judged: list[Row], others: list[tuple[int, int]]) -> None:
    summary = summarize_rows(judged, others, named=False)

    images = [(row.sample.target, row.predicted) for row in judged] + others
    pairs = [(target, predicted) for target, predicted in images if predicted >= 0]
    right = sum(target == predicted for target, predicted in pairs)
    complete = images and len(pairs) == len(images)
    _same(summary.top1_accuracy_all_images, right / len(images) if complete else None)
    assert (summary.num_images, summary.num_predicted) == (len(images), len(pairs))
    assert summary.imagenet_m_errors is None


@max_examples(100)
@given(st.lists(st.tuples(*[st.sampled_from(CLASSES)] * 3, st.booleans()), min_size=1, max_size=12))
@example([(0, 1, 0, True), (0, 1, 0, False)])
def test_accuracy_among_classes_uses_the_restricted_top1_of_predicted_images(
    images: list[tuple[int, int, int, bool]],
) -> None:
    targets, *predicted, has_prediction = (np.array(column, dtype=np.int16) for column in zip(*images, strict=True))
    top1, top1_restricted = (np.where(has_prediction, column, -1).astype(np.int16) for column in predicted)
    matches = [target == best for target, _, best, is_predicted in images if is_predicted]
    nothing = build_strata(targets[:0], np.zeros(0, dtype=bool), {})

    def accuracy(predictions: Predictions) -> float | None:
        results = SampleResults(np.zeros(0, np.uint8), *[np.zeros(0, bool)] * 3)
        return summarize(results, nothing, (), predictions, targets).top1_accuracy_among_classes

    _same(accuracy(Predictions(top1, None, top1_restricted)), sum(matches) / len(matches) if matches else None)
    assert accuracy(Predictions(top1)) is None


def test_group_without_samples_has_no_rates() -> None:
    summary = summarize_rows([Row(Sample(2, frozenset({2}), False, False), 1, 2, False)], [])

    empty = summary.groups["other"]
    assert empty.num_samples == 0
    assert set(empty.counts.values()) == {0}
    assert empty.top1_accuracy is None
    assert empty.multi_label_accuracy is None
    assert empty.multi_label_accuracy_forgiving_minor is None
    assert empty.multi_label_accuracy_forgiving_explainable is None
    assert not empty.portions_of_top1_errors
    assert not empty.portions_of_multi_label_errors
    assert not empty.gain_if_fixed_top1
    assert not empty.gain_if_fixed_multi_label


def test_multi_label_accuracy_weights_classes_equally() -> None:
    # class 0: 3 of 4 correct; class 1: 0 of 1, with a fine-grained error
    verdicts = [(0, 1), (0, 2), (0, 3), (0, 8), (1, 4)]
    judged = [
        Row(Sample(target, frozenset({target}), False, False), kind, target if kind == 1 else 999, False)
        for target, kind in verdicts
    ]

    group = summarize_rows(judged, []).groups[ALL]

    assert group.multi_label_accuracy == pytest.approx(3 / 8)
    assert group.multi_label_accuracy_forgiving_minor == pytest.approx(7 / 8)
    assert group.multi_label_accuracy_forgiving_explainable == pytest.approx(7 / 8)
    assert group.top1_accuracy == pytest.approx(1 / 5)
    portions = {kind.id: portion for kind, portion in group.portions_of_multi_label_errors.items()}
    assert portions == {4: 0.5, 5: 0, 6: 0, 7: 0, 8: 0.5}


def test_group_can_contain_samples_of_other_target_classes() -> None:
    # target 2 is in no group; its samples are organisms by another label (spec: 481 classes, not 410)
    judged = [
        Row(Sample(2, frozenset({2, 0}), False, False), 8, 999, False),
        Row(Sample(0, frozenset({0}), False, False), 1, 0, False),
    ]

    organisms = summarize_rows(judged, []).groups["organism"]

    assert organisms.num_samples == 2
    assert organisms.multi_label_accuracy == pytest.approx(1 / 2)


@max_examples(50)
@given(st.lists(rows(), max_size=40))
def test_counts_add_up(judged: list[Row]) -> None:
    for group in summarize_rows(judged, []).groups.values():
        assert group.num_samples == group.counts[ErrorType.CORRECT] + group.top1_errors
        assert group.top1_errors == sum(count for kind, count in group.counts.items() if kind != ErrorType.CORRECT)

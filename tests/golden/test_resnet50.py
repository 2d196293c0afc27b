"""A ResNet-50 on ImageNet-ReaL: verdicts and aggregates, compared with the oracle."""

from collections import Counter

import numpy as np
import pytest
from oracle import aggregates, cooccurrence
from oracle.verdicts import OVERLAP, Facts, Sample, Verdict, byte, judge

from service.analyses.judge import compute_summary, compute_verdicts
from service.domain import ALL, ErrorType, Predictions, Summary
from service.evidence.bundle import Bundle
from service.rules.table import error_types
from service.summary.confusions import confusions
from service.taxonomy.imagenet_1k import GROUPS

from .conftest import check_group, members_of


@pytest.fixture(scope="module")
def samples(targets: dict[str, int], real_labels: dict[str, list[int]]) -> dict[str, Sample]:
    return {
        name: Sample(targets[name], frozenset(labels), False, False, labels[0]) for name, labels in real_labels.items()
    }


@pytest.fixture(scope="module")
def slow_verdicts(imagenet_real: Bundle, samples: dict[str, Sample], resnet50: dict[str, int]) -> list[Verdict]:
    """The oracle's verdict of each evaluated image, with the superclasses of the bundle."""
    superclasses = [set(members.tolist()) for members in imagenet_real.label_space.superclasses.members]
    facts = Facts(
        overlap=OVERLAP,
        superclasses=superclasses,
        cooccurrence=cooccurrence.pairs((set(sample.multi_labels) for sample in samples.values()), superclasses),
        has_prototype_list=False,
        oov=None,
    )
    return [judge(sample, row, resnet50[name], facts) for row, (name, sample) in enumerate(samples.items())]


@pytest.fixture(scope="module")
def predictions(imagenet_real: Bundle, resnet50: dict[str, int]) -> Predictions:
    names = imagenet_real.arrays["names"].tolist()
    return Predictions(np.array([resnet50[name.decode()] for name in names], dtype=np.int16))


@pytest.fixture(scope="module")
def verdicts(imagenet_real: Bundle, predictions: Predictions) -> np.ndarray:
    return compute_verdicts(imagenet_real, predictions)


@pytest.fixture(scope="module")
def summary(imagenet_real: Bundle, predictions: Predictions) -> Summary:
    return compute_summary(imagenet_real, predictions)


def test_verdicts_agree_with_the_oracle(
    imagenet_real: Bundle, samples: dict[str, Sample], slow_verdicts: list[Verdict], verdicts: np.ndarray
) -> None:
    assert imagenet_real.judged_names == list(samples)
    assert len(slow_verdicts) == 46_837
    expected = np.array([byte(verdict) for verdict in slow_verdicts])
    different = [imagenet_real.judged_names[row] for row in np.flatnonzero(verdicts != expected)]
    assert different == []
    # the model makes errors of every kind that has evidence
    assert {verdict.error_type for verdict in slow_verdicts} == {1, 2, 3, 4, 6, 8}


@pytest.mark.parametrize("group", [ALL, *GROUPS])
def test_summary_agrees_with_the_oracle(
    group: str, summary: Summary, samples: dict[str, Sample], slow_verdicts: list[Verdict], resnet50: dict[str, int]
) -> None:
    top1 = [resnet50[name] for name in samples]

    expected = aggregates.aggregate(list(samples.values()), top1, slow_verdicts, members_of(group))
    check_group(summary.groups[group], expected)


def test_images_without_a_prediction_are_not_counted(
    imagenet_real: Bundle,
    predictions: Predictions,
    samples: dict[str, Sample],
    slow_verdicts: list[Verdict],
    resnet50: dict[str, int],
) -> None:
    top1 = predictions.top1.copy()
    top1[imagenet_real.rows[::7]] = -1

    summary = compute_summary(imagenet_real, Predictions(top1))

    judged = zip(samples, samples.values(), slow_verdicts, strict=True)
    remaining = [sample for row, sample in enumerate(judged) if row % 7]
    names, remaining_samples, verdicts = map(list, zip(*remaining, strict=True))
    for group in (ALL, *GROUPS):
        expected = aggregates.aggregate(
            remaining_samples, [resnet50[name] for name in names], verdicts, members_of(group)
        )
        check_group(summary.groups[group], expected)
    assert summary.top1_accuracy_all_images is None


@pytest.mark.parametrize("group", [ALL, *GROUPS])
def test_counts_add_up(group: str, summary: Summary) -> None:
    actual = summary.groups[group]

    assert actual.num_samples == sum(actual.counts.values())
    assert actual.top1_errors == round((1 - actual.top1_accuracy) * actual.num_samples)
    assert sum(actual.portions_of_top1_errors.values()) == pytest.approx(1)
    assert sum(actual.portions_of_multi_label_errors.values()) == pytest.approx(1)


def test_accuracy_over_all_images_agrees_with_the_csv(
    summary: Summary, targets: dict[str, int], resnet50: dict[str, int]
) -> None:
    right = sum(resnet50[name] == target for name, target in targets.items())

    assert summary.top1_accuracy_all_images == pytest.approx(right / 50_000, abs=1e-12)
    assert round(right / 500, 1) == 72.7  # reference/README: 72.7 % right
    assert (summary.num_images, summary.num_predicted, summary.num_problematic) == (50_000, 50_000, 0)


def test_real_accuracy_agrees_with_the_published_definition(
    summary: Summary, real_labels: dict[str, list[int]], resnet50: dict[str, int]
) -> None:
    hits = sum(resnet50[name] in labels for name, labels in real_labels.items())

    assert (hits, len(real_labels)) == (36_352, 46_837)  # spec/label-space: 77.61 %
    assert summary.groups[ALL].num_samples == 46_837
    assert summary.groups[ALL].accuracy_against_labels == hits / 46_837
    assert round(100 * summary.groups[ALL].accuracy_against_labels, 2) == 77.61


def test_rejected_targets_are_counted(
    summary: Summary, imagenet_real: Bundle, targets: dict[str, int], real_labels: dict[str, list[int]]
) -> None:
    rejected = [name for name, labels in real_labels.items() if targets[name] not in labels]

    assert len(rejected) == summary.num_rejected_targets == 4_673  # spec/label-space
    assert imagenet_real.manifest.counts["rejected_targets"] == 4_673
    assert {imagenet_real.judged_names[row] for row in np.flatnonzero(imagenet_real.evidence.rejected)} == {*rejected}
    for group in (ALL, *GROUPS):
        assert not summary.groups[group].gain_if_fixed_top1


def test_rules_without_evidence_abstain(summary: Summary) -> None:
    assert summary.abstained == (ErrorType.FINE_GRAINED_OOV, ErrorType.NON_PROTOTYPICAL)
    assert all(summary.groups[ALL].counts[kind] == 0 for kind in summary.abstained)


def test_confusions_agree_with_the_oracle(
    imagenet_real: Bundle,
    predictions: Predictions,
    verdicts: np.ndarray,
    samples: dict[str, Sample],
    slow_verdicts: list[Verdict],
    resnet50: dict[str, int],
) -> None:
    top1 = predictions.top1[imagenet_real.rows]

    result = confusions(imagenet_real.evidence.effective_targets, top1, error_types(verdicts), 50)

    counted = Counter(
        (sample.e, resnet50[name])
        for (name, sample), verdict in zip(samples.items(), slow_verdicts, strict=True)
        if verdict.error_type >= 4
    )
    expected = sorted(counted.items(), key=lambda entry: (-entry[1], entry[0]))[:50]
    assert [((confusion.target, confusion.predicted), confusion.count) for confusion in result] == expected

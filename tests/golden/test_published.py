"""Published figures and verdicts that depend on neither the authors' superclasses nor CLIP."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from oracle.verdicts import OVERLAP, Facts, Sample, judge
from unit.rules.scenarios import evidence_of

from service.domain import LabelSource
from service.evidence.build import sample_groups
from service.evidence.cooccurrence import count_pairs
from service.evidence.inputs import CooccurrenceInputs
from service.evidence.labels import pack_labels
from service.rules.decide import decide
from service.taxonomy.imagenet_1k import imagenet_1k

from .conftest import Annotation

BY_LABELS = {"overlapping_classes": 2, "multi_label": 3}
BY_OTHER_EVIDENCE = {"fg", "fg-OOV", "spurious_correlation", "non-proto", "model_failure"}


@pytest.fixture(scope="module")
def judged(annotation: Annotation) -> list[list[int]]:
    """The multi-labels of each sample that is not problematic."""
    return [labels for name, labels in annotation.multi_labels.items() if name not in annotation.problematic]


# the annotation


def test_annotation_has_the_published_numbers(annotation: Annotation, judged: list[list[int]]) -> None:
    assert len(annotation.multi_labels) == 20_000
    assert len(judged) == 18_692
    assert sum(len(labels) == 1 for labels in judged) == 15_104
    assert round(sum(map(len, judged)) / len(judged), 2) == 1.26


def test_labels_of_ordinary_samples_contain_the_target(annotation: Annotation, targets: dict[str, int]) -> None:
    assert all(
        targets[name] in labels
        for name, labels in annotation.multi_labels.items()
        if name not in annotation.problematic
    )


def test_groups_have_the_published_sizes(judged: list[list[int]]) -> None:
    groups = sample_groups(
        pack_labels([dict.fromkeys(labels, LabelSource.CORRECT) for labels in judged]), imagenet_1k()
    )

    assert groups.sum(axis=1).tolist() == [7_624, 10_184, 1_596]


def test_groups_have_the_published_multi_label_shares(judged: list[list[int]]) -> None:
    several = np.array([len(labels) > 1 for labels in judged])
    groups = sample_groups(
        pack_labels([dict.fromkeys(labels, LabelSource.CORRECT) for labels in judged]), imagenet_1k()
    )

    assert round(100 * several.mean(), 2) == 19.20
    assert [round(100 * several[group].mean(), 2) for group in groups] == [10.38, 27.88, 41.98]


# co-occurrence


@pytest.fixture(scope="module")
def pairs(annotation: Annotation, targets: dict[str, int], label_sets: dict[str, set[int]]) -> CooccurrenceInputs:
    """Pairs over the images with ReaL labels that are not in the annotation."""
    numbers = {name: number for number, name in enumerate(targets, start=1)}
    names = [name for name in label_sets if name not in annotation.multi_labels]
    labels = pack_labels([dict.fromkeys(sorted(label_sets[name]), LabelSource.REAL) for name in names])
    return count_pairs(labels, np.array([numbers[name] for name in names], dtype=np.int32))


def test_numbers_of_pairs_agree_with_the_specification(pairs: CooccurrenceInputs) -> None:
    assert len(pairs.counts) == 5_456
    assert (pairs.counts >= 2).sum() == 1_659
    assert pairs.counts.min() == 1


def test_published_pairs_occur_at_least_twice(reference: Path, pairs: CooccurrenceInputs) -> None:
    published = json.loads((reference / "published" / "co_occurrence_pairs_sample.json").read_text())
    count = dict(zip(map(tuple, pairs.classes.tolist()), pairs.counts.tolist(), strict=True))

    assert len(published) == 635
    assert all(count.get((min(pair), max(pair)), 0) >= 2 for pair in published)


# single errors


def test_published_labels_agree_with_the_annotation(annotation: Annotation, common_errors: list[dict]) -> None:
    assert len(common_errors) == 2_892
    for common_error in common_errors:
        assert common_error["name"] not in annotation.problematic
        assert set(common_error["multi_labels"]) == set(annotation.multi_labels[common_error["name"]])


def verdicts_by_labels(annotation: Annotation, errors: list[dict]) -> list[int]:
    """Return the verdicts of the rules with labels as the only evidence."""
    evidence = evidence_of(
        [error["target"] for error in errors], [annotation.multi_labels[error["name"]] for error in errors]
    )
    table = decide(evidence)
    return table[np.arange(len(errors)), [error["prediction"] for error in errors]].tolist()


@pytest.mark.parametrize("error_type", BY_LABELS)
def test_published_verdicts_that_labels_decide_are_reproduced(
    error_type: str, annotation: Annotation, common_errors: list[dict]
) -> None:
    errors = [common_error for common_error in common_errors if common_error["error_type"] == error_type]
    facts = Facts(OVERLAP, [], None, False, None)

    by_rules = verdicts_by_labels(annotation, errors)
    by_oracle = [
        judge(
            Sample(error["target"], frozenset(annotation.multi_labels[error["name"]]), False, False),
            row,
            error["prediction"],
            facts,
        ).error_type
        for row, error in enumerate(errors)
    ]

    assert len(errors) > 200
    assert Counter(by_rules) == {BY_LABELS[error_type]: len(errors)}
    assert Counter(by_oracle) == {BY_LABELS[error_type]: len(errors)}


def test_label_rules_do_not_hold_for_other_published_errors(annotation: Annotation, common_errors: list[dict]) -> None:
    errors = [common_error for common_error in common_errors if common_error["error_type"] not in BY_LABELS]

    assert {error["error_type"] for error in errors} == BY_OTHER_EVIDENCE
    # with labels alone, no classes share a superclass, so that rules 1 to 3 leave only model failures
    assert set(verdicts_by_labels(annotation, errors)) == {8}


def test_published_spurious_correlations_are_co_occurrence_pairs(
    annotation: Annotation, common_errors: list[dict], pairs: CooccurrenceInputs
) -> None:
    twice = {tuple(pair) for pair, count in zip(pairs.classes.tolist(), pairs.counts, strict=True) if count >= 2}
    errors = [common_error for common_error in common_errors if common_error["error_type"] == "spurious_correlation"]

    assert errors
    for error in errors:
        labels, predicted = annotation.multi_labels[error["name"]], error["prediction"]
        assert any((min(label, predicted), max(label, predicted)) in twice for label in labels), error


def test_published_non_prototypical_errors_are_in_the_lists_of_mistakes(
    reference: Path, common_errors: list[dict]
) -> None:
    non_prototypical_images = {
        name
        for model in ("greedy_soups", "vit3b")
        for name, mistake in json.loads(
            (reference / "imagenet-mistakes" / "metadata" / f"{model}_mistakes.json").read_text()
        ).items()
        if mistake["failure category"] == "Non-prototypical"
    }
    errors = [common_error for common_error in common_errors if common_error["error_type"] == "non-proto"]

    assert len(non_prototypical_images) == 36
    assert {error["name"] for error in errors} <= non_prototypical_images

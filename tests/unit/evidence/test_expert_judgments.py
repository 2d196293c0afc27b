"""Expert judgments: the files of imagenet-mistakes, and the array of a bundle."""

import json
from pathlib import Path

import numpy as np
import pytest
from errata.errors import InvalidEvidence
from unit.evidence.official import Row, mistake, write_json

from service.bootstrap.build import Inputs, build_evidence, expert_agreement, verify_evidence
from service.domain import ErrorType, ExpertJudgment, ExpertSeverity
from service.evidence.bundle import Bundle, open_bundle
from service.evidence.expert_judgments import read_expert_judgments
from service.evidence.labels import original_labels, validation_name
from service.storage import sha256_of

NUMBERS = (1, 2, 3)


def write(folder: Path, first: object, second: object) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in (("greedy_soups", first), ("vit3b", second)):
        (folder / f"{name}_mistakes.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def mistakes(tmp_path: Path) -> Path:
    return write(
        tmp_path / "mistakes",
        {
            validation_name(1): mistake("Fine-grained with OOV", 7, "Major"),
            validation_name(2): mistake("Spurious Correlation", 8, "Borderline"),
            "ILSVRC2012_val_00049999.JPEG": mistake("Non-prototypical", 3),
        },
        {
            validation_name(1): mistake("Fine-grained with OOV", 7, "Major"),
            validation_name(2): mistake("Fine-grained error", 9),
        },
    )


def build(tmp_path: Path, name: str, mistakes: Path | None) -> Bundle:
    rows = [Row(validation_name(number), target := int(original_labels()[number - 1]), [target]) for number in NUMBERS]
    annotations = write_json(tmp_path / "annotation.json", rows)
    return build_evidence("imagenet", Inputs(annotations=annotations, mistakes=mistakes), tmp_path / name)


def test_distinct_pairs_of_both_files_are_read(mistakes: Path) -> None:
    assert read_expert_judgments(mistakes) == {
        (validation_name(1), 7): ExpertJudgment(ErrorType.FINE_GRAINED_OOV, ExpertSeverity.MAJOR),
        (validation_name(2), 8): ExpertJudgment(ErrorType.SPURIOUS_CORRELATION, ExpertSeverity.BORDERLINE),
        (validation_name(2), 9): ExpertJudgment(ErrorType.FINE_GRAINED, ExpertSeverity.MINOR),
        ("ILSVRC2012_val_00049999.JPEG", 3): ExpertJudgment(ErrorType.NON_PROTOTYPICAL, ExpertSeverity.MINOR),
    }


@pytest.mark.parametrize(
    "entry",
    [
        None,
        {},
        mistake("Boredom", 7),
        mistake("Fine-grained error", 7, "Huge"),
        mistake("Fine-grained error", 1000),
        mistake("Fine-grained error", -1),
        {**mistake("Fine-grained error", 7), "top_prediction": "7"},
        {**mistake("Fine-grained error", 7), "top_prediction": True},
    ],
)
def test_invalid_judgments_are_rejected(tmp_path: Path, entry: object) -> None:
    with pytest.raises(
        InvalidEvidence, match=r"vit3b_mistakes\.json: .*Expected a JSON object that maps file"
    ) as rejected:
        read_expert_judgments(write(tmp_path / "bad", {}, {"a.JPEG": entry}))
    assert rejected.value.violations[0].field == "mistakes"


def test_bundle_has_the_judgments_of_its_images_outside_of_its_digest(tmp_path: Path, mistakes: Path) -> None:
    bundle = build(tmp_path, "with", mistakes)
    other = build(tmp_path, "other", write(tmp_path / "none", {}, {}))

    assert bundle.expert_judgments == {
        (0, 7): ExpertJudgment(ErrorType.FINE_GRAINED_OOV, ExpertSeverity.MAJOR),
        (1, 8): ExpertJudgment(ErrorType.SPURIOUS_CORRELATION, ExpertSeverity.BORDERLINE),
        (1, 9): ExpertJudgment(ErrorType.FINE_GRAINED, ExpertSeverity.MINOR),
    }
    assert other.expert_judgments == {}
    assert bundle.digest == other.digest
    assert verify_evidence(bundle.path) == []


def test_bundle_without_the_array_is_readable(tmp_path: Path) -> None:
    bundle = build(tmp_path, "without", None)

    assert "expert_judgments" not in bundle.arrays
    assert bundle.expert_judgments == {}


def test_agreement_uses_the_judgments_of_the_bundle_or_of_a_folder(tmp_path: Path, mistakes: Path) -> None:
    bundle = build(tmp_path, "with", mistakes)
    without = build(tmp_path, "without", None)

    own = expert_agreement(bundle.path)

    assert own.num_pairs == 3
    assert expert_agreement(without.path, mistakes).num_pairs == 3
    with pytest.raises(InvalidEvidence, match="no expert judged its images"):
        expert_agreement(without.path)


@pytest.mark.parametrize(
    "row", [(3, 7, 4, 1), (-1, 7, 4, 1), (0, 1000, 4, 1), (0, 7, 0, 1), (0, 7, 15, 1), (0, 7, 4, 4)]
)
def test_judgments_out_of_range_are_rejected(tmp_path: Path, mistakes: Path, row: tuple[int, ...]) -> None:
    path = build(tmp_path, "with", mistakes).path
    file = path / "expert_judgments.npy"
    np.save(file, np.array([row], dtype=np.int32))
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"][file.name] = {"sha256": sha256_of(file), "bytes": file.stat().st_size}
    (path / "manifest.json").write_text(json.dumps(manifest))

    with pytest.raises(InvalidEvidence, match="expected rows, classes, error types, and severities"):
        open_bundle(path)

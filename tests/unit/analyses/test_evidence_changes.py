"""What a version of evidence changes, compared with a count over the rows of the files of CIFAR-100."""

import io
from pathlib import Path

import pytest
from errata.errors import EvidenceNotFound, InvalidRequest
from oracle.label_space import read_rows

from service.analyses import evidence_versions
from service.analyses.evidence_changes import compute_changes
from service.analyses.reanalyze_all import reanalyze_all
from service.analyses.upload import upload
from service.bootstrap.build import Inputs, build_evidence
from service.domain import ALL, AnalysisRequest, LabelChangeCounts
from service.evidence.repository import EvidenceRepository

from .conftest import Backend


@pytest.fixture(scope="module")
def files(reference: Path) -> Path:
    return reference / "cifar100"


@pytest.fixture
def backend(files: Path, tmp_path: Path) -> Backend:
    """The original labels of CIFAR-100, and the predictions of a model for them."""
    original = tmp_path / "original.csv"
    rows = "".join(f"{row['file_name']},{row['target']}\n" for row in read_rows(files / "labels.csv"))
    original.write_text(f"file_name,labels\n{rows}")
    base = build_evidence("own", Inputs(classes=files / "classes.csv", labels=original), tmp_path / "base")
    backend = Backend(EvidenceRepository({"own": [base.path]}, tmp_path / "data"))
    upload(backend.ports, AnalysisRequest("own"), io.BytesIO((files / "predictions.csv").read_bytes()))
    return backend


def test_label_errors_of_a_model_are_the_errors_that_the_corrected_labels_accept(files: Path, backend: Backend) -> None:
    stores = backend.ports.stores
    labels = io.BytesIO((files / "labels.csv").read_bytes())
    corrected = evidence_versions.upload_labels(stores, "own", labels, "root")
    waiting = compute_changes(stores, "own", corrected.digest)
    [*reanalyze_all(backend.ports, "own", corrected.digest, "")]

    changes = compute_changes(stores, "own", corrected.digest[:8])

    predicted = {row["file_name"]: row["predicted_class"] for row in read_rows(files / "predictions.csv")}
    rows = read_rows(files / "labels.csv")
    label_errors = new_errors = changed = set_aside = 0
    for row in rows:
        was_right = predicted[row["file_name"]] == row["target"]
        is_right = predicted[row["file_name"]] in row["labels"].replace(";", " ").split()
        changed += row["labels"] != row["target"] or bool(row["problematic"])
        set_aside += bool(row["problematic"])
        label_errors += not was_right and (is_right or bool(row["problematic"]))
        new_errors += was_right and not is_right and not row["problematic"]
    counts = changes.counts
    assert (counts.changed, counts.set_aside, counts.restored, counts.not_evaluated) == (changed, set_aside, 0, 0)
    (model,) = changes.models
    assert (model.num_label_errors, model.num_new_errors) == (label_errors, new_errors)
    assert label_errors > 100
    right = sum(predicted[row["file_name"]] == row["target"] for row in rows)
    assert model.before.summary is not None
    assert model.before.summary.groups[ALL].top1_accuracy == right / len(rows)
    assert (waiting.num_waiting, len(waiting.models)) == (1, 0)
    assert changes.num_waiting == 0


def test_evidence_without_a_base_has_no_changes(backend: Backend) -> None:
    with pytest.raises(InvalidRequest, match="does not correct other evidence"):
        compute_changes(backend.ports.stores, "own", "")
    with pytest.raises(EvidenceNotFound):
        compute_changes(backend.ports.stores, "own", "ffff")


def test_images_that_uploaded_labels_leave_out_are_no_changes_and_no_label_errors(
    files: Path, backend: Backend
) -> None:
    predicted = {row["file_name"]: row["predicted_class"] for row in read_rows(files / "predictions.csv")}
    rows = read_rows(files / "labels.csv")
    first, *others = [row for row in rows if predicted[row["file_name"]] != row["target"]]
    omitted = {row["file_name"] for row in (first, *others[:300])}
    lines = [f"{row['file_name']},{row['target']}" for row in rows if row["file_name"] not in omitted]
    corrected = f"{first['file_name']},{first['target']};{predicted[first['file_name']]}"
    content = io.BytesIO("\n".join(["file_name,labels", corrected, *lines]).encode())
    stores = backend.ports.stores
    fewer = evidence_versions.upload_labels(stores, "own", content, "root")
    [*reanalyze_all(backend.ports, "own", fewer.digest, "")]

    changes = compute_changes(stores, "own", fewer.digest)

    assert changes.counts == LabelChangeCounts(
        changed=1, added=1, removed=0, set_aside=0, restored=0, not_evaluated=300
    )
    assert (changes.images[0].name, len(changes.images)) == (first["file_name"], 200)
    assert not any(image.is_evaluated or image.is_problematic for image in changes.images[1:])
    (model,) = changes.models
    assert (model.num_label_errors, model.num_new_errors) == (1, 0)

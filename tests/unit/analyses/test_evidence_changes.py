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
from service.domain import ALL, AnalysisRequest
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
    assert (changes.num_changed, changes.num_set_aside, changes.num_restored) == (changed, set_aside, 0)
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


def test_images_that_uploaded_labels_leave_out_are_set_aside(files: Path, backend: Backend) -> None:
    rows = [f"{row['file_name']},{row['target']}" for row in read_rows(files / "labels.csv")[:9_990]]
    content = io.BytesIO(("file_name,labels\n" + "\n".join(rows)).encode())
    fewer = evidence_versions.upload_labels(backend.ports.stores, "own", content, "root")

    changes = compute_changes(backend.ports.stores, "own", fewer.digest)

    assert (changes.num_changed, changes.num_set_aside, len(changes.images)) == (10, 10, 10)

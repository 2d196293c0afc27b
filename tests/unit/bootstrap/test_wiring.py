"""The offers and the model policy that follow from the settings."""

import json
from pathlib import Path
from unittest.mock import Mock

import pytest
from errata.errors import InvalidEvidence, InvalidModelId, Unavailable
from structlog.testing import capture_logs

from service.analyses.ports import Workers
from service.archive.publications import ArchivePublications
from service.bootstrap.wiring import (
    expected_offer,
    image_folders,
    image_locations,
    make_ports,
    model_offers,
    model_policy,
    pin_allowed_model,
    start_dataset_check,
    worker_offer,
)
from service.evidence.repository import EvidenceRepository
from service.jobs.memory import InMemoryJobStore
from service.jobs.transitions import WorkerOffer
from service.predictions.model_id import SOURCES, parse_model_id
from service.settings import read_settings


@pytest.mark.parametrize("is_readable", [True, False])
def test_datasets_of_images_and_attributes_that_have_no_evidence_are_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_readable: bool
) -> None:
    (tmp_path / "attributes.csv").write_text("file_name,attribute,value\na,weather,rain\n")
    settings = read_settings(
        {
            "ERRATA_DATA_DIR": str(tmp_path),
            "ERRATA_IMAGES": '{"demo": "/images", "dmeo": "/images"}',
            "ERRATA_ATTRIBUTES": json.dumps({"imagenet-rael": str(tmp_path / "attributes.csv")}),
        }
    )
    publications = ArchivePublications(settings.archive_location)
    if not is_readable:
        monkeypatch.setattr(publications, "events", Mock(side_effect=Unavailable("The archive is unavailable.")))

    with capture_logs() as logs:
        start_dataset_check(settings, EvidenceRepository({}, tmp_path, publications)).join()

    warnings = [(entry.get("setting"), entry.get("dataset")) for entry in logs if entry["log_level"] == "warning"]
    expected = [("ERRATA_IMAGES", "dmeo"), ("ERRATA_ATTRIBUTES", "imagenet-rael")]
    assert warnings == (expected if is_readable else [(None, None)])


@pytest.mark.parametrize("setting", ["ERRATA_EVIDENCE", "ERRATA_ATTRIBUTES"])
def test_an_invalid_evidence_file_is_reported_with_its_setting(tmp_path: Path, setting: str) -> None:
    missing = str(tmp_path / "missing")
    settings = read_settings({"ERRATA_DATA_DIR": str(tmp_path), setting: json.dumps({"mine": missing})})

    with pytest.raises(InvalidEvidence, match=f"^{setting}: .*{missing}.*Check the path"):
        make_ports(settings, Mock(), Mock(), Mock(), Mock())


def test_every_source_is_offered_if_files_are_allowed() -> None:
    models = [offer.model for offer in model_offers(True, ("mlflow", "wandb"))]

    assert {model.partition(":")[0] for model in models} == set(SOURCES) - {"hf"}  # hf is replaced when it is pinned


def test_files_are_not_offered_without_a_folder() -> None:
    assert not [offer for offer in model_offers(allow_files=False) if offer.model.startswith(("file:", "onnx:"))]


def test_expected_models_and_images_are_accepted_although_no_worker_offers_them() -> None:
    registries = {"ours": {"kind": "mlflow", "url": "https://mlflow.example", "secrets": ["0123456789"]}}
    images = {"street": "/images/street", "remote": "s3://images"}
    settings = read_settings({}, expected_models=["timm:*", "timm:*"], registries=registries, images=images)
    expected, store = expected_offer(settings), InMemoryJobStore(lambda: 0.0)

    assert [offer.model for offer in Workers(store.offers(), expected).models] == ["timm:*", "mlflow:*"]
    assert Workers(store.offers(), expected).can_have_images("remote"), "no worker has registered yet"
    for _ in range(2):  # with and without the worker
        store.heartbeat("w1", WorkerOffer((("demo:a", "a model"),), ("demo",)))
        workers = Workers(store.offers(), expected)
        assert [offer.model for offer in workers.models] == ["timm:*", "mlflow:*", "demo:a"]
        assert [name for name in ("demo", "street", "remote") if workers.can_have_images(name)] == [
            "demo",
            "street",
            "remote",
        ]
        assert [name for name in ("demo", "street", "remote") if workers.has_images(name)] == ["demo"]
        store.remove_worker("w1")


def test_without_expected_models_a_first_start_offers_none() -> None:
    registries = {"ours": {"kind": "mlflow", "url": "https://mlflow.example", "secrets": ["0123456789"]}}

    assert expected_offer(read_settings({}, registries=registries, images={"a": "/a"})) == WorkerOffer((), ())


def test_the_policy_has_the_values_of_the_settings() -> None:
    environment = {
        "ERRATA_MODELS": "/models",
        "ERRATA_MODEL_SOURCES": '["timm:*"]',
        "ERRATA_MAX_PARAMETERS": "5",
        "ERRATA_MAX_DOWNLOAD_BYTES": "6",
        "ERRATA_WEIGHTS_CACHE_BYTES": "7",
    }

    policy = model_policy(read_settings(environment))

    assert (policy.folder, policy.sources) == (Path("/models"), ["timm:*"])
    assert (policy.max_parameters, policy.max_download_bytes, policy.max_cache_bytes) == (5, 6, 7)


def test_a_forbidden_model_is_rejected_before_it_is_resolved() -> None:
    policy = model_policy(read_settings({"ERRATA_MODEL_SOURCES": '["timm:*"]'}))

    assert pin_allowed_model(policy, parse_model_id("resnet50")) == parse_model_id("timm:resnet50")
    with pytest.raises(InvalidModelId, match="ERRATA_MODEL_SOURCES"):
        pin_allowed_model(policy, parse_model_id("hf-hub:timm/resnet50.a1_in1k"))


def test_workers_read_folders_and_tar_files_but_no_object_stores() -> None:
    images = {"a": "/images", "b": "images.tar", "c": "s3://bucket/images", "demo": "/photographs"}
    settings = read_settings({}, images=images)

    assert image_locations(settings) == images
    assert image_folders(settings) == {"a": Path("/images"), "b": Path("images.tar"), "demo": Path("/photographs")}
    assert worker_offer(settings, image_folders(settings)).datasets == ("a", "b", "demo")

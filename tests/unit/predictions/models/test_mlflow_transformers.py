"""Registered versions of MLflow in the layout of mlflow.transformers.log_model."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from errata.errors import ModelRefused, UnsupportedFormat
from registry_server import RegistryServer, send
from unit.predictions.label_spaces import label_space
from unit.predictions.models.transformers_models import save_vit

from service.predictions.model_policy import ModelPolicy
from service.predictions.models import mlflow as source
from service.predictions.registry_http import RegistryAddress

LABELS = {0: "name 0", 1: "name 1", 2: "name 2"}
ROOT = "1/models/m-1/artifacts"
FILES = "/api/2.0/mlflow-artifacts/artifacts"


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Return the folder with the files of the version."""
    folder = tmp_path / ROOT
    save_vit(folder / "model", LABELS)
    (folder / "components/image_processor").mkdir(parents=True)
    processor = folder / "model/preprocessor_config.json"
    processor.rename(folder / "components/image_processor/preprocessor_config.json")
    (folder / "code").mkdir()
    (folder / "code/config.json").write_text("{}")
    (folder / "MLmodel").write_text("flavors: {transformers: {}}")
    return folder


@pytest.fixture
def server(tmp_path: Path, stored: Path) -> Iterator[RegistryServer]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        if parts.path == FILES:
            folder = tmp_path / parse_qs(parts.query)["path"][0]
            entries = [
                {
                    "path": path.name,
                    "is_dir": path.is_dir(),
                    "file_size": None if path.is_dir() else path.stat().st_size,
                }
                for path in sorted(folder.iterdir())
            ]
            return send(handler, 200, json.dumps({"files": entries}).encode())
        return send(handler, 200, (tmp_path / parts.path.removeprefix(f"{FILES}/")).read_bytes())

    with RegistryServer() as running:
        version = {"name": "vit", "version": "3", "status": "READY", "source": "", "run_id": ""}
        running.responses["/api/2.0/mlflow/model-versions/get"] = {"model_version": version}
        uri = {"artifact_uri": f"mlflow-artifacts:/{ROOT}"}
        running.responses["/api/2.0/mlflow/model-versions/get-download-uri"] = uri
        running.fallback = answer
        yield running


def policy_of(server: RegistryServer) -> ModelPolicy:
    return ModelPolicy(registries=[RegistryAddress("prod", server.url, "secret")])


def test_a_model_of_transformers_is_loaded_from_its_safe_files(server: RegistryServer) -> None:
    info = source.load("models://prod/vit/3", policy_of(server), label_space(3)).info

    assert (info.model, info.architecture) == ("mlflow:models://prod/vit/3", "ViTForImageClassification")
    fetched = {path.rpartition("/")[2] for _, path, _, _ in server.requests if path.startswith(f"{FILES}/")}
    assert fetched == {"model.safetensors", "config.json", "preprocessor_config.json"}


def test_a_version_without_image_processor_is_refused(server: RegistryServer, stored: Path) -> None:
    (stored / "components/image_processor/preprocessor_config.json").unlink()

    with pytest.raises(ModelRefused, match=r"preprocessor_config\.json"):
        source.load("models:/vit/3", policy_of(server), label_space(3))


def test_a_version_with_only_a_program_is_refused(server: RegistryServer, stored: Path) -> None:
    (stored / "model/model.safetensors").rename(stored / "model/model.pt2")

    with pytest.raises(UnsupportedFormat, match=r"model\.pt2"):
        source.load("models:/vit/3", policy_of(server), label_space(3))

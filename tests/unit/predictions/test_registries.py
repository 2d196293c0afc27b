"""Artifact URIs of a registry: those that it serves itself are resolved, and others are rejected."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from errata.errors import UnsupportedFormat

from service.predictions.registries import RegistryAddress, resolve_artifact_uri

ADDRESS = RegistryAddress("prod", "https://mlflow.example:5000", "t0k3n-t0k3n")


@dataclass
class FakeClient:
    """A fake client with the artifact URIs of runs and logged models."""

    runs: dict[str, str] = field(default_factory=dict)
    logged: dict[str, str] = field(default_factory=dict)

    def get_run(self, run_id: str) -> Any:
        return SimpleNamespace(info=SimpleNamespace(artifact_uri=self.runs[run_id]))

    def get_logged_model(self, model_id: str) -> Any:
        return SimpleNamespace(artifact_location=self.logged[model_id])


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("mlflow-artifacts:/1/r/artifacts", "mlflow-artifacts:/1/r/artifacts"),
        ("mlflow-artifacts://mlflow.example:5000/1", "mlflow-artifacts://mlflow.example:5000/1"),
        ("runs:/r1/weights/best", "mlflow-artifacts:/1/r1/artifacts/weights/best"),
        ("runs:/r1", "mlflow-artifacts:/1/r1/artifacts"),
        ("models:/m-1", "mlflow-artifacts:/1/models/m-1"),
    ],
)
def test_uris_that_the_registry_serves_are_resolved(uri: str, expected: str) -> None:
    client = FakeClient({"r1": "mlflow-artifacts:/1/r1/artifacts"}, {"m-1": "mlflow-artifacts:/1/models/m-1"})
    assert resolve_artifact_uri(client, uri, ADDRESS) == expected


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd",
        "/etc/passwd",
        "",
        "s3://bucket/key",
        "http://169.254.169.254/latest",
        "https://mlflow.example:5000/x",
        "mlflow-artifacts://evil.example/x",
        "mlflow-artifacts://mlflow.example:5000@evil.example/x",
        "mlflow-artifacts://mlflow.example/x",
        "models:/net/1",
        "runs:/evil/x",
        "runs:/elsewhere/x",
        "runs:/loop/x",
        "models:/m-evil",
    ],
)
def test_uris_outside_the_registry_are_rejected(uri: str) -> None:
    client = FakeClient(
        {"evil": "file:///etc", "elsewhere": "mlflow-artifacts://evil.example/x", "loop": "runs:/loop/x"},
        {"m-evil": "file:///etc"},
    )
    with pytest.raises(UnsupportedFormat, match="does not serve the files"):
        resolve_artifact_uri(client, uri, ADDRESS)

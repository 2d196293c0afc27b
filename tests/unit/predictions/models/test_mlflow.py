"""Versions of an MLflow registry. tests/processes/test_mlflow.py loads them from a real server."""

import math
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from errata.errors import ModelRefused, Unavailable
from registry_server import RegistryServer

from service.predictions.model_policy import ModelPolicy
from service.predictions.models import mlflow
from service.predictions.registry_http import RegistryAddress
from service.taxonomy.imagenet_1k import imagenet_1k

API = "/api/2.0/mlflow/"
FILES = "/api/2.0/mlflow-artifacts/artifacts"
LIMIT = 1 << 20  # bytes of a download


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with RegistryServer() as running:
        running.responses[f"{API}model-versions/get-download-uri"] = {"artifact_uri": "mlflow-artifacts:/1/r"}
        running.responses[FILES] = {"files": [{"path": "predictions.csv", "is_dir": False, "file_size": 40}]}
        running.responses[f"{FILES}/1/r/predictions.csv"] = b"file_name,predicted_class\na.jpg,1\nb.jpg,2\n"
        yield running


def load(server: RegistryServer, status: str) -> Any:
    version = {"name": "net", "version": "7", "status": status, "source": "", "tags": []}
    server.responses[f"{API}model-versions/get"] = {"model_version": version}
    policy = ModelPolicy(max_download_bytes=LIMIT, registries=[RegistryAddress("prod", server.url, "t0k3n")])
    return mlflow.load("models:/net/7", policy, imagenet_1k())


def requested_files(server: RegistryServer) -> list[str]:
    return [path for _, path, *_ in server.requests if path.startswith(f"{FILES}/")]


@pytest.mark.parametrize("status", ["PENDING_REGISTRATION", "FAILED_REGISTRATION"])
def test_a_version_that_is_not_ready_is_retried_later(server: RegistryServer, status: str) -> None:
    with pytest.raises(Unavailable, match=f"{status}, not READY") as error:
        load(server, status)
    assert error.value.retry_after
    assert requested_files(server) == []

    load(server, "READY")

    assert requested_files(server) == [f"{FILES}/1/r/predictions.csv"]


def test_a_file_that_is_larger_than_listed_is_refused_while_it_arrives(server: RegistryServer) -> None:
    num_sent = 0

    def send_without_end(handler: BaseHTTPRequestHandler) -> None:
        nonlocal num_sent
        handler.send_response(200)
        handler.end_headers()
        with suppress(OSError):
            for _ in range(10_000):
                num_sent += handler.wfile.write(bytes(1 << 16))

    server.responses[f"{FILES}/1/r/predictions.csv"] = send_without_end

    with pytest.raises(ModelRefused, match=f"at most {LIMIT:,} bytes"):
        load(server, "READY")
    assert num_sent < 10_000 << 16


def test_all_files_together_are_within_the_limit(server: RegistryServer) -> None:
    names = ["model.onnx", "a.data", "b.data", "c.data"]
    server.responses[FILES] = {"files": [{"path": name, "is_dir": False} for name in names]}  # without sizes
    server.responses |= {f"{FILES}/1/r/{name}": bytes(LIMIT // 2) for name in names}

    with pytest.raises(ModelRefused, match=f"at most {LIMIT:,} bytes"):
        load(server, "READY")
    assert requested_files(server) == [f"{FILES}/1/r/{name}" for name in names[:3]]


@pytest.mark.parametrize("size", [math.inf, "x", [1]])
def test_an_invalid_size_is_reported(server: RegistryServer, size: object) -> None:
    server.responses[FILES] = {"files": [{"path": "predictions.csv", "is_dir": False, "file_size": size}]}

    with pytest.raises(Unavailable, match="wrong types"):
        load(server, "READY")

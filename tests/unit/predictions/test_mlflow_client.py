"""The client of MLflow's REST API. tests/processes/test_mlflow.py uses it with a real server."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from errata.errors import ModelNotFound, Unavailable, UnsupportedFormat
from registry_server import RegistryServer, drip_until, send

from service.predictions import registry_http
from service.predictions.mlflow_client import MlflowClient
from service.predictions.registry_http import MAX_RESPONSE, RegistryAddress, RegistryHttp

API = "/api/2.0/mlflow/"
FILES = "/api/2.0/mlflow-artifacts/artifacts"
TOKEN = "t0k3n-t0k3n"


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with RegistryServer() as running:
        yield running


@pytest.fixture
def client(server: RegistryServer) -> MlflowClient:
    return MlflowClient(RegistryAddress("prod", server.url, TOKEN))


def set_run(server: RegistryServer, uri: str) -> None:
    server.responses[f"{API}runs/get"] = {"run": {"info": {"artifact_uri": uri}}}


def set_version(server: RegistryServer, uri: str) -> None:
    server.responses[f"{API}model-versions/get-download-uri"] = {"artifact_uri": uri}


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("mlflow-artifacts:/1/r/artifacts", "1/r/artifacts"),
        ("mlflow-artifacts://{host}/1", "1"),
        ("runs:/r1/weights/best", "1/r1/artifacts/weights/best"),
        ("runs:/r1", "1/r1/artifacts"),
        ("models:/m-1", "1/models/m-1"),
    ],
)
def test_uris_that_the_registry_serves_are_resolved(
    server: RegistryServer, client: MlflowClient, uri: str, expected: str
) -> None:
    set_run(server, "mlflow-artifacts:/1/r1/artifacts")
    server.responses[f"{API}logged-models/m-1"] = {
        "model": {"info": {"artifact_uri": "mlflow-artifacts:/1/models/m-1"}}
    }
    set_version(server, uri.format(host=server.url.removeprefix("http://")))

    assert client.folder_of_version("net", "1") == expected


@pytest.mark.parametrize(
    ("uri", "uri_of_run"),
    [
        ("file:///etc/passwd", ""),
        ("/etc/passwd", ""),
        ("s3://bucket/key", ""),
        ("http://169.254.169.254/latest", ""),
        ("mlflow-artifacts://evil.example/x", ""),
        ("mlflow-artifacts://127.0.0.1@evil.example/x", ""),
        ("models:/net/1", ""),
        ("runs:/r/x", "file:///etc"),
        ("runs:/r/x", "mlflow-artifacts://evil.example/x"),
        ("runs:/r/x", "runs:/r/x"),
        ("runs:/r/x", ""),
    ],
)
def test_uris_outside_the_registry_are_rejected(
    server: RegistryServer, client: MlflowClient, uri: str, uri_of_run: str
) -> None:
    set_run(server, uri_of_run)
    set_version(server, uri)

    with pytest.raises(UnsupportedFormat, match="does not serve the files"):
        client.folder_of_version("net", "1")


def test_all_pages_of_a_search_are_read(server: RegistryServer, client: MlflowClient) -> None:
    def page(handler: BaseHTTPRequestHandler) -> None:
        number = 2 if "page_token=second" in handler.path else 1
        token = ', "next_page_token": "second"' if number == 1 else ""
        send(handler, 200, f'{{"model_versions": [{{"name": "net", "version": {number}}}]{token}}}'.encode())

    server.responses[f"{API}model-versions/search"] = page

    assert [version.version for version in client.versions()] == ["1", "2"]
    assert all(authorization == f"Bearer {TOKEN}" for _, _, authorization, _ in server.requests)


def test_a_redirect_is_not_followed(server: RegistryServer, client: MlflowClient) -> None:
    with RegistryServer() as other:
        server.responses[f"{API}model-versions/get"] = lambda handler: send(handler, 302, b"", Location=other.url)

        with pytest.raises(Unavailable, match="redirects to another address"):
            client.model_version("net", "1")
        assert other.requests == []


@pytest.mark.parametrize(
    ("response", "error", "message"),
    [
        ((404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no net"}), ModelNotFound, "no net"),
        ((404, {"error_code": "RESOURCE_DOES_NOT_EXIST"}), ModelNotFound, "Check its name"),
        ((404, b"<html>"), Unavailable, "HTTP 404"),
        ((400, {"error_code": "INVALID_PARAMETER_VALUE"}), Unavailable, "INVALID_PARAMETER_VALUE"),
        ((401, b"who?"), Unavailable, "HTTP 401"),
        ((500, b"[]"), Unavailable, "HTTP 500"),
        ((200, b"<html>login</html>"), Unavailable, "JSON object"),
        ((200, b"[1]"), Unavailable, "JSON object"),
        ((200, {"other": 1}), Unavailable, "without the field 'model_version'"),
        ((200, b" " * (MAX_RESPONSE + 1)), Unavailable, "more than"),
    ],
)
def test_unexpected_responses_are_errors(
    server: RegistryServer, client: MlflowClient, response: Any, error: type[Exception], message: str
) -> None:
    server.responses[f"{API}model-versions/get"] = response

    with pytest.raises(error, match=message):
        client.model_version("net", "1")


@pytest.mark.parametrize(
    "version", ["x", {"version": None}, {"version": "1", "tags": 1}, {"version": "1", "tags": ["x"]}]
)
def test_values_of_wrong_types_are_errors(server: RegistryServer, client: MlflowClient, version: object) -> None:
    server.responses[f"{API}model-versions/get"] = {"model_version": version}
    server.responses[f"{API}registered-models/alias"] = {"model_version": version}
    server.responses[f"{API}model-versions/search"] = {"model_versions": version}

    for call in (
        lambda: client.model_version("net", "1"),
        lambda: client.version_of_alias("net", "champion"),
        lambda: list(client.versions()),
    ):
        with pytest.raises(Unavailable, match="wrong types"):
            call()


@pytest.mark.parametrize("uri", ["mlflow-artifacts:/../../mlflow/x", "mlflow-artifacts:/a/../b", "s3://bucket/x"])
def test_files_outside_of_the_storage_are_refused(server: RegistryServer, client: MlflowClient, uri: str) -> None:
    server.responses[f"{API}model-versions/get-download-uri"] = {"artifact_uri": uri}

    with pytest.raises(UnsupportedFormat):
        client.folder_of_version("net", "1")


@pytest.mark.parametrize("uri", ["http://[x/", "mlflow-artifacts:/\ud800"])
def test_invalid_uris_are_errors(server: RegistryServer, client: MlflowClient, uri: str) -> None:
    server.responses[f"{API}model-versions/get-download-uri"] = {"artifact_uri": uri}

    with pytest.raises(Unavailable, match="wrong types"):
        client.folder_of_version("net", "1")


def test_a_missing_alias_is_not_found(server: RegistryServer, client: MlflowClient) -> None:
    server.responses[f"{API}registered-models/alias"] = (400, {"error_code": "INVALID_PARAMETER_VALUE"})

    with pytest.raises(ModelNotFound):
        client.version_of_alias("net", "champion")


def test_a_response_that_never_ends_is_ended(server: RegistryServer) -> None:
    stopped = Event()
    server.responses["/slow"] = drip_until(stopped)
    http = RegistryHttp(RegistryAddress("prod", server.url), total_seconds=0.3)

    with pytest.raises(Unavailable):
        http.request("GET", "slow")  # without a limit, the call would never return
    stopped.set()


def test_a_slow_registry_delays_only_its_own_calls(server: RegistryServer, client: MlflowClient) -> None:
    released = Event()

    def wait(handler: BaseHTTPRequestHandler) -> None:
        released.wait(20)
        send(handler, 200, b'{"model_version": {"name": "net", "version": "7"}}')

    server.responses[f"{API}model-versions/get"] = wait
    with RegistryServer() as other, ThreadPoolExecutor() as pool:
        other.responses[f"{API}model-versions/get"] = {"model_version": {"name": "net", "version": "8"}}
        slow = pool.submit(client.model_version, "net", "7")
        fast = pool.submit(MlflowClient(RegistryAddress("test", other.url)).model_version, "net", "8")

        assert fast.result(10).version == "8"
        assert not slow.done()
        released.set()
        assert slow.result(10).version == "7"


def test_a_file_is_read_up_to_a_limit_whatever_its_size_claims(
    server: RegistryServer, client: MlflowClient, tmp_path: Path
) -> None:
    def stream(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with suppress(OSError):
            for _ in range(1000):
                handler.wfile.write(bytes(1 << 20))

    server.responses[f"{FILES}/1/r/a%20%3F.bin"] = stream
    server.responses[f"{FILES}/1/r/small.bin"] = b"content"

    assert not client.download("1/r/a ?.bin", tmp_path / "large", limit=3 << 20)
    assert (tmp_path / "large").stat().st_size <= 3 << 20
    assert client.download("1/r/small.bin", tmp_path / "small", limit=7)
    assert (tmp_path / "small").read_bytes() == b"content"


def test_a_file_that_is_too_slow_is_not_read_to_its_end(
    server: RegistryServer, client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte arrives within the timeout of a read, so that only the rate ends the download."""
    monkeypatch.setattr(registry_http, "SLOW_SECONDS", 0.2)
    stopped = Event()
    server.responses[f"{FILES}/1/r/model.onnx"] = drip_until(stopped)

    with pytest.raises(Unavailable, match="bytes per second"):
        client.download("1/r/model.onnx", tmp_path / "model.onnx", limit=1_000_000)
    stopped.set()


def test_changes_are_sent_with_their_fields(server: RegistryServer, client: MlflowClient) -> None:
    for method in ("model-versions/set-tag", "registered-models/alias", "runs/log-metric"):
        server.responses[API + method] = {}
    server.responses[f"{FILES}/1/r/report.html"] = b""

    client.set_version_tag("net", "1", "errata.gate", "fail")
    client.delete_alias("net", "errata-passed")
    client.log_metric("r", "errata.top1", 0.5, 1000, None)
    client.upload("1/r/report.html", b"<html>")

    verbs, paths, _, bodies = zip(*server.requests, strict=True)
    assert verbs == ("POST", "DELETE", "POST", "PUT")
    assert paths[3] == f"{FILES}/1/r/report.html"
    assert bodies[0] == b'{"name": "net", "version": "1", "key": "errata.gate", "value": "fail"}'
    assert bodies[1] == b'{"name": "net", "alias": "errata-passed"}'
    assert b"model_id" not in bodies[2]
    assert bodies[3] == b"<html>"

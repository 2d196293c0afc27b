"""Write-backs: an API that is killed before a write-back completes it after its restart, exactly once."""

import base64
import json
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from errata import Client, pb
from pki import write_self_signed
from redis_server import free_port
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from .cluster import SOON, Cluster, cluster, wait_for

MODEL = "demo:efficientnet_lite0"
SECRET = "whsec_" + base64.b64encode(b"a secret of the test's, of 32 by").decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"another secret, that is not used").decode()
QUIET = 10.0  # seconds without further requests; longer than the delay after a failed attempt
SUCCEEDED = pb.Analysis.STATE_SUCCEEDED


@dataclass(frozen=True)
class Delivery:
    """One write-back attempt that the receiver got."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    status: int  # of the response

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def data(self) -> dict[str, Any]:
        """Return the payload after verification of the signature with the reference library."""
        event: dict[str, Any] = Webhook(SECRET).verify(self.body, dict(self.headers))
        assert event["type"] == "errata.analysis.completed"
        data: dict[str, Any] = event["data"]
        return data


class Receiver:
    """An HTTPS server of a registry on localhost; `status` is the status of its responses."""

    def __init__(self, folder: Path) -> None:
        self.status = 503
        self.deliveries: list[Delivery] = []
        self.certificate = folder / "localhost.pem"
        self._lock = threading.Lock()
        family, *_, address = socket.getaddrinfo("localhost", free_port(), type=socket.SOCK_STREAM)[0]
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with receiver._lock:
                    status = receiver.status
                    receiver.deliveries.append(Delivery(self.path, headers, body, status))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            address_family = family

        self._server = Server((address[0], address[1]), Handler)
        self.port = int(self._server.server_address[1])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(write_self_signed(self.certificate, "localhost"))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/results"

    def with_status(self, status: int) -> list[Delivery]:
        """Return the attempts with this response status."""
        with self._lock:
            return [delivery for delivery in self.deliveries if delivery.status == status]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    running = Receiver(tmp_path)
    yield running
    running.stop()


@pytest.fixture
def service(data_dir: Path, tmp_path: Path, receiver: Receiver) -> Iterator[Cluster]:
    """A service with one worker and a registry that receives results."""
    registry = {
        "kind": "generic",
        "url": receiver.url,
        "secrets": [SECRET],
        "ports": [receiver.port],
        "networks": ["127.0.0.0/8", "::1/128"],
        "rules": [{"event": "created", "model": "photo-*", "dataset": "demo"}],
    }
    settings = {"ERRATA_REGISTRIES": json.dumps({"any": registry}), "SSL_CERT_FILE": str(receiver.certificate)}
    with cluster(data_dir, tmp_path, seconds=0.05, **settings) as running:
        yield running


def call(service: Cluster, version: str, delivery: str, name: str = "photo-net") -> int:
    """Post an event about a new version, signed with the reference library; return the status."""
    body = json.dumps({"type": "model_version.created", "data": {"name": name, "version": version, "model": MODEL}})
    now = datetime.now(UTC)
    headers = {
        "Content-Type": "application/json",
        "webhook-id": delivery,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(delivery, now, body),
    }
    url = f"http://{service.http}/v1/hooks/generic/any"
    request = urllib.request.Request(url, body.encode(), headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def wait_for_analysis(client: Client) -> pb.Analysis:
    """Wait until the only analysis has succeeded."""
    wait_for(lambda: [item.state for item in client.list()] == [SUCCEEDED], "the analysis has succeeded")
    (analysis,) = client.list()
    return analysis


def test_a_result_is_written_back_once_after_a_kill_before_the_write_back(service: Cluster, receiver: Receiver) -> None:
    assert call(service, "7", "d1") == 202
    with service.client() as client:
        analysis = wait_for_analysis(client)
        wait_for(lambda: receiver.with_status(503), "an attempt is refused")
        wait_for(lambda: service.events("write-back failed"), "the failure is logged")
        with service.redis.client() as redis:  # without a scheduled retry, the retry would wait for the lease
            wait_for(lambda: redis.hlen("errata:owed:tries"), "the retry is scheduled")

        assert service.api is not None
        service.api.kill()
        service.api.wait(10)
        receiver.status = 200
        restarted = time.time()
        service.start_api()
        wait_for(lambda: receiver.with_status(200), "the result arrives", SOON)
        time.sleep(QUIET)

        (accepted,) = receiver.with_status(200)
        refused = receiver.with_status(503)
        assert {item.id for item in refused} == {accepted.id}
        assert all(json.loads(item.body) == json.loads(accepted.body) for item in refused)
        assert accepted.path == "/results"
        data = accepted.data
        assert (data["model"], data["version"], data["gate"], data["reasons"]) == ("photo-net", "7", None, [])
        assert data["analysis"]["name"] == analysis.name
        assert data["analysis"]["state"] in ("SUCCEEDED", "STATE_SUCCEEDED")
        assert int(accepted.headers["webhook-timestamp"]) >= int(restarted)  # renewed for each attempt
        with pytest.raises(WebhookVerificationError):
            Webhook(OTHER_SECRET).verify(accepted.body, dict(accepted.headers))
        assert client.get(analysis.name) == analysis
        assert call(service, "7", "d2") == 200  # the same version was accepted before
        assert [item.name for item in client.list()] == [analysis.name]


def test_an_api_writes_the_result_back_after_a_kill_and_a_restart(service: Cluster, receiver: Receiver) -> None:
    receiver.status = 204
    assert call(service, "1", "d1") == 202
    assert service.api is not None
    service.api.kill()
    service.api.wait(10)
    service.start_api()

    with service.client() as client:
        analysis = wait_for_analysis(client)
        wait_for(lambda: receiver.with_status(204), "the result arrives")
        assert receiver.with_status(204)[0].data["analysis"]["name"] == analysis.name

"""Slow, half-open, huge, and invalid connections: the service serves other callers and releases the resources."""

import contextlib
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from errata import v1 as pb
from errata.v1 import analysis_service_pb2_grpc, catalog_service_pb2_grpc

from service.evidence.bundle import Bundle

from .attackers import ATTACKS, HOOK, HTTP_GET, LONG_LIVED, MANY, METRICS, MIB, PREFACE, connected, trickling

SOON = 60.0  # seconds; a deadline, not a measure
SPARE = 4  # open files that may come and go
BODY_LIMIT = 256 << 10  # bytes that a generic registry may send
REGISTRIES = {"other": {"kind": "generic", "secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], "rules": []}}


@dataclass(frozen=True)
class Service:
    """A service in a separate process, and the name of one of its analyses."""

    process: "subprocess.Popen[bytes]"
    grpc: str
    http: str
    analysis: str

    def files(self) -> int:
        """Return how many files and sockets it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def answers(self) -> None:
        """Make typical calls, and check their responses."""
        with grpc.insecure_channel(self.grpc) as channel:
            get_analysis = analysis_service_pb2_grpc.AnalysisServiceStub(channel).GetAnalysis(
                pb.GetAnalysisRequest(name=self.analysis), timeout=SOON
            )
            assert get_analysis.state == pb.Analysis.STATE_SUCCEEDED
            types = catalog_service_pb2_grpc.CatalogServiceStub(channel).ListErrorTypes(
                pb.ListErrorTypesRequest(), timeout=SOON
            )
            assert len(types.error_types) == 8
        assert self.get("/livez") == (200, b"alive\n")

    def get(self, path: str) -> tuple[int, bytes]:
        """Return status and body of a page."""
        connection = http.client.HTTPConnection(self.http, timeout=SOON)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def service(data_dir: Path, demo: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Start a service, and have it judge the 20 photographs."""
    folder = tmp_path_factory.mktemp("service")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ERRATA_")}
    settings = {
        "ERRATA_DATA_DIR": str(data_dir),
        "ERRATA_ARCHIVE": str(folder / "archive"),
        "ERRATA_LOG_FORMAT": "json",
    }
    settings |= {"ERRATA_GRPC_ADDRESS": "127.0.0.1:0", "ERRATA_HTTP_ADDRESS": "127.0.0.1:0"}
    settings |= {"ERRATA_REGISTRIES": json.dumps(REGISTRIES), "ERRATA_GRACE_SECONDS": "1"}
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "service", "serve", "--local"]
        process = subprocess.Popen(command, env=inherited | settings, stderr=log)
    try:
        ready = _ready(process, folder / "log")
        yield Service(process, ready["grpc"], ready["http"], _upload(ready["grpc"], demo))
        assert process.poll() is None, "the service has ended"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(SOON)


def _ready(process: "subprocess.Popen[bytes]", log: Path) -> dict[str, str]:
    ready_events: list[dict[str, str]] = []

    def is_ready() -> bool:
        assert process.poll() is None, log.read_text()[-1000:]
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
        ready_events.extend(line for line in lines if line["event"] == "ready")
        return bool(ready_events)

    wait_for(is_ready, "the service is ready")
    return ready_events[0]


def _upload(address: str, demo: Bundle) -> str:
    rows = [f"{name},{value}" for name, value in zip(demo.judged_names, demo.all_targets.tolist(), strict=True)]
    parts = [
        pb.UploadPredictionsRequest(header=pb.UploadHeader(analysis=pb.Analysis(dataset="demo"))),
        pb.UploadPredictionsRequest(chunk="\n".join(["file_name,predicted_class", *rows]).encode()),
    ]
    with grpc.insecure_channel(address) as channel:
        upload_predictions = analysis_service_pb2_grpc.AnalysisServiceStub(channel).UploadPredictions(
            iter(parts), timeout=SOON
        )
        return str(upload_predictions.name)


@pytest.fixture(scope="module", autouse=True)
def early(service: Service) -> Iterator[dict[str, socket.socket]]:
    """Connections that are opened before all others, and then stay silent or send slowly."""
    service.answers()
    with ExitStack() as opened:
        yield {
            "says nothing to HTTP": opened.enter_context(connected(service.http))[0],
            "stops halfway through its headers": opened.enter_context(connected(service.http, HTTP_GET))[0],
            "trickles": opened.enter_context(trickling(service.http, HTTP_GET + b"X-A: ", b"a", 1))[0],
            "asks once and stays": opened.enter_context(connected(service.http, HTTP_GET + b"\r\n"))[0],
            "reads no answer": opened.enter_context(connected(service.http, METRICS * 4000))[0],
            "says nothing to gRPC": opened.enter_context(connected(service.grpc))[0],
            "stops halfway through the preface": opened.enter_context(connected(service.grpc, PREFACE[:12]))[0],
        }


@pytest.mark.parametrize("name", ATTACKS)
def test_others_are_served_during_an_attack_which_leaves_no_open_files(service: Service, name: str) -> None:
    before = service.files()

    with ATTACKS[name](service.grpc, service.http):
        if name in LONG_LIVED:
            wait_for(lambda: service.files() >= before + MANY - 20, "they are connected")
        for _ in range(3):
            service.answers()
            time.sleep(0.05)

    service.answers()
    wait_for(lambda: service.files() <= before + SPARE, f"{before} open files, as before")


def test_the_service_survives_all_attacks_at_once(service: Service) -> None:
    before = service.files()

    with ExitStack() as attacks:
        for name in ("headers that trickle", "silence on gRPC", "calls without an end", "uploads that stall"):
            attacks.enter_context(ATTACKS[name](service.grpc, service.http))
        service.answers()

    service.answers()
    wait_for(lambda: service.files() <= before + SPARE, f"{before} open files, as before")


@pytest.mark.parametrize("method", ["GetAnalysis", "UploadPredictions"])
def test_a_message_of_more_than_4_mib_is_rejected(service: Service, method: str) -> None:
    with grpc.insecure_channel(service.grpc) as channel:
        stub = analysis_service_pb2_grpc.AnalysisServiceStub(channel)
        huge = {
            "GetAnalysis": pb.GetAnalysisRequest(name="a" * (5 * MIB)),
            "UploadPredictions": iter([pb.UploadPredictionsRequest(chunk=bytes(5 * MIB))]),
        }
        with pytest.raises(grpc.RpcError) as refused:
            getattr(stub, method)(huge[method], timeout=SOON)

    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    service.answers()


def test_metadata_of_a_megabyte_is_rejected(service: Service) -> None:
    with grpc.insecure_channel(service.grpc) as channel, pytest.raises(grpc.RpcError) as refused:
        catalog_service_pb2_grpc.CatalogServiceStub(channel).ListErrorTypes(
            pb.ListErrorTypesRequest(), timeout=SOON, metadata=[("x-a", "a" * MIB)]
        )

    assert refused.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
    service.answers()


@pytest.mark.parametrize("head", [b"X-A: " + b"a" * MIB + b"\r\n\r\n", b"X-A: b\r\n" * 20_000 + b"\r\n"])
def test_headers_of_a_megabyte_are_rejected(service: Service, head: bytes) -> None:
    with connected(service.http, HTTP_GET + head) as (connection,):
        answer = _read(connection)

    assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431")), answer[:100]
    service.answers()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_hooks_body_over_its_limit_is_rejected(service: Service, chunked: bool) -> None:
    body = b"a" * (BODY_LIMIT + 1)
    head = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" if chunked else b"Content-Length: %d\r\n\r\n"
    with connected(service.http, HOOK + head % len(body) + body + (b"\r\n0\r\n\r\n" if chunked else b"")) as (
        connection,
    ):
        answer = _read(connection)

    assert answer == b"" or answer.startswith(b"HTTP/1.1 413"), answer[:100]  # unread data may reset the connection
    service.answers()


def _read(connection: socket.socket) -> bytes:
    """Return the first bytes; empty if the connection is closed."""
    connection.settimeout(SOON)
    with contextlib.suppress(ConnectionError):
        return connection.recv(4096)
    return b""


def test_idle_partial_slow_and_unread_connections_are_closed(early: dict[str, socket.socket]) -> None:
    deadline = time.monotonic() + SOON
    reset = select.poll()
    reset.register(early["reads no answer"], 0)  # it would receive more after reading
    assert reset.poll(SOON * 1000), "a client that reads no answer is still connected"
    for who, connection in early.items():
        connection.setblocking(False)
        with contextlib.suppress(ConnectionError):
            while True:
                left = max(0.0, deadline - time.monotonic())
                assert select.select([connection], [], [], left)[0], f"still connected: who {who}"
                if not connection.recv(4096):
                    break

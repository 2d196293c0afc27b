"""SIGTERM ends a process in time even if threads still run, and the log names them."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from errata import Client
from errata import v1 as pb
from errata.v1 import analysis_service_pb2_grpc
from redis_server import RedisServer, free_port

from service.evidence.bundle import Bundle

from .cluster import ROOT, wait_for
from .conftest import environment

MODEL = "demo:efficientnet_lite0"
GRACE = 1.0
END_SECONDS = 60.0  # instead of about 6: other tests can occupy the processors. Stuck threads run for a day
REGISTRY = {"kind": "generic", "secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], "rules": []}
HEADER = pb.UploadPredictionsRequest(header=pb.UploadHeader(analysis=pb.Analysis(dataset="demo")))


@dataclass
class Process:
    """A process with a JSON log file."""

    process: "subprocess.Popen[bytes]"
    log: Path
    grpc: str
    http: str

    def events(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of an event."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("}")]
        return [line for line in lines if line["event"] == event]

    def stop(self) -> int:
        """Send SIGTERM; return the exit code of the process, which must end by itself within END_SECONDS."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(END_SECONDS)

    @property
    def forced(self) -> list[dict[str, Any]]:
        """The log lines of the watchdog, which ends a process after the grace period."""
        return self.events("process ended after the grace period: threads still run")


Run = Callable[..., Process]


@pytest.fixture
def run(data_dir: Path, demo: Bundle, tmp_path: Path) -> Iterator[Run]:
    """Return a function that starts `stuck_service.py`; kill its processes after the test."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(what: str, stuck: str = "sleep", **settings: str) -> Process:
        log, grpc_address, http_address = tmp_path / f"{what}.log", *(f"127.0.0.1:{free_port()}" for _ in range(2))
        defaults = {
            "ERRATA_ARCHIVE": str(tmp_path / "archive"),
            "ERRATA_GRPC_ADDRESS": grpc_address,
            "ERRATA_HTTP_ADDRESS": http_address,
            "ERRATA_WORKER_HTTP_ADDRESS": "127.0.0.1:0",
            "ERRATA_GRACE_SECONDS": str(GRACE),
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "client"))),
            "STUCK": stuck,
        }
        script = str(Path(__file__).parent / "stuck_service.py")
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, script, what], env=environment(data_dir, **(defaults | settings)), stderr=file
            )
        processes.append(process)
        result = Process(process, log, grpc_address, http_address)
        wait_for(lambda: result.events("worker ready" if what == "work" else "ready"), f"{what} is ready")
        return result

    yield start
    for process in processes:
        process.kill()
        process.wait(10)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path).start()
    yield server
    server.stop()


@contextmanager
def upload(address: str, *parts: pb.UploadPredictionsRequest) -> Iterator[grpc.Channel]:
    """Start an upload that sends only these messages."""
    ends: queue.SimpleQueue[None] = queue.SimpleQueue()

    def messages() -> Iterator[pb.UploadPredictionsRequest]:
        yield from parts
        ends.get()

    with grpc.insecure_channel(address) as channel:
        call = analysis_service_pb2_grpc.AnalysisServiceStub(channel).UploadPredictions.future(messages())
        try:
            yield channel
        finally:
            call.cancel()
            ends.put(None)


@pytest.mark.parametrize("stuck", ["sleep", "python", "numpy", "regex"])
def test_a_thread_that_never_ends_does_not_delay_the_end_of_the_process(run: Run, stuck: str) -> None:
    service = run("local", stuck)
    with upload(service.grpc, HEADER, pb.UploadPredictionsRequest(chunk=b"a")):
        wait_for(lambda: service.events("stuck"), "an upload is stuck")

        code = service.stop()

    assert code != 0
    if stuck == "regex":  # this thread holds the GIL, so no other thread can log or end the process
        assert service.events("process killed after the grace period: a thread holds the GIL")
        assert code == -signal.SIGKILL
    else:
        (forced,) = service.forced
        assert any("uploader" in item for item in forced["running"]), forced


def test_open_uploads_watches_and_webhooks_do_not_delay_the_end_of_the_process(run: Run, redis: RedisServer) -> None:
    settings = {"ERRATA_REDIS_URL": redis.url, "ERRATA_REGISTRIES": json.dumps({"other": REGISTRY})}
    worker = run("work", **settings)
    service = run("serve", **settings)
    with ExitStack() as stack:
        channel = stack.enter_context(upload(service.grpc, HEADER))
        with Client(service.grpc) as client:
            name = client.analyze(MODEL, "demo").name
        watch = analysis_service_pb2_grpc.AnalysisServiceStub(channel).WatchAnalysis(pb.WatchAnalysisRequest(name=name))
        next(watch)
        host, _, port = service.http.rpartition(":")
        hook = stack.enter_context(socket.create_connection((host, int(port))))
        hook.sendall(b"POST /v1/hooks/generic/other HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{")
        wait_for(lambda: worker.events("stuck"), "the model is stuck")

        assert service.stop() == 0, "the process ends without force"


@pytest.mark.parametrize("what", ["serve", "work"])
def test_a_frozen_redis_does_not_delay_the_end_of_a_process(run: Run, redis: RedisServer, what: str) -> None:
    settings = {"ERRATA_REDIS_URL": redis.url}
    worker = run("work", **settings)
    service = run("serve", **settings)
    with Client(service.grpc) as client:
        client.analyze(MODEL, "demo")
    wait_for(lambda: worker.events("stuck"), "the model is stuck")
    assert redis.process is not None
    os.kill(redis.process.pid, signal.SIGSTOP)
    try:
        process = {"serve": service, "work": worker}[what]
        code = process.stop()
    finally:
        os.kill(redis.process.pid, signal.SIGCONT)
    assert (code == 0) == (not process.forced)
    assert process.forced or what == "serve", "the model is still stuck"


def test_an_idle_process_ends_immediately_with_code_0(run: Run) -> None:
    service = run("local", ERRATA_GRACE_SECONDS=str(2 * END_SECONDS))

    assert service.stop() == 0
    assert not service.forced


def get(url: str) -> tuple[int, Any]:
    """Return the status and the headers of the response to a request."""
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            return response.status, response.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


def refuses_connections(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as connection:
        return connection.connect_ex((host, int(port))) != 0


def test_an_open_page_is_completed_within_the_grace_period(run: Run, tmp_path: Path) -> None:
    release = tmp_path / "release"
    service = run("local", "until file exists", ERRATA_GRACE_SECONDS="60", STUCK_UNTIL=str(release))
    with ThreadPoolExecutor(1) as pool:
        page = pool.submit(get, f"http://{service.http}/")
        wait_for(lambda: service.events("stuck"), "the page is open")
        service.process.send_signal(signal.SIGTERM)
        wait_for(lambda: refuses_connections(service.http), "the service refuses new requests")
        wait_for(lambda: service.events("engine stopped"), "the engine stops meanwhile")
        release.touch()

        assert page.result()[0] == 200

    assert service.process.wait(60) == 0


def test_a_page_that_exceeds_the_grace_period_is_refused_as_unavailable(run: Run, tmp_path: Path) -> None:
    release = tmp_path / "release"
    service = run("local", "until file exists", STUCK_UNTIL=str(release))
    with ThreadPoolExecutor(1) as pool:
        page = pool.submit(get, f"http://{service.http}/")
        wait_for(lambda: service.events("stuck"), "the page is open")
        service.process.send_signal(signal.SIGTERM)
        status, headers = page.result()
    release.touch()

    assert (status, headers["Retry-After"]) == (503, "2")
    service.process.wait(60)
    assert "Traceback" not in service.log.read_text()

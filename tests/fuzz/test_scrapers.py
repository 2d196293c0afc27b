"""Clients that request metrics and never read them: the memory stays bounded, and other clients are served."""

import contextlib
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from errata import Client

from .attackers import METRICS, MIB
from .test_connections import wait_for

RESULTS = 150  # watched versions
CLIENTS = 500
GROWTH = 64 * MIB  # of all clients together: 131 KiB each
SOON = 60.0  # seconds; a deadline, not a measure


@pytest.fixture
def service(data_dir: Path, demo_csv: bytes, tmp_path: Path) -> Iterator[tuple[int, str]]:
    """Start a service with many watched results; give its process' id and where its HTTP is."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ERRATA_")}
    settings = {
        "ERRATA_DATA_DIR": str(data_dir),
        "ERRATA_ARCHIVE": str(tmp_path / "archive"),
        "ERRATA_LOG_FORMAT": "json",
        "ERRATA_GRPC_ADDRESS": "127.0.0.1:0",
        "ERRATA_HTTP_ADDRESS": "127.0.0.1:0",
        "ERRATA_GRACE_SECONDS": "1",
        "ERRATA_MAX_WATCHED": "1000",
    }
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "serve", "--local"], env=inherited | settings, stderr=file
        )
    try:
        wait_for(lambda: b'"event": "ready"' in log.read_bytes(), "the service is ready")
        ready = next(line for line in map(json.loads, log.read_text().splitlines()) if line["event"] == "ready")
        with Client(ready["grpc"]) as client:
            for number in range(RESULTS):
                labels = {"model": "a-model-with-a-name-of-some-length", "version": f"{number:060}"}
                client.upload(io.BytesIO(demo_csv), "demo", labels=labels)
        wait_for(lambda: scrape(ready["http"])[1].count(b"errata_result_timestamp_seconds{") == RESULTS, "all shown")
        yield process.pid, ready["http"]
        assert process.poll() is None, "the service has ended"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(SOON)


def scrape(address: str) -> tuple[int, bytes]:
    """Return the status and the body of the metrics."""
    connection = http.client.HTTPConnection(address, timeout=SOON)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        return response.status, response.read()


def resident(pid: int) -> int:
    """Return the bytes of memory that a process has, as the kernel counts them."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS:"))


def test_clients_that_never_read_take_bounded_memory_and_leave_room(service: tuple[int, str]) -> None:
    pid, address = service
    host, _, port = address.rpartition(":")
    size = len(scrape(address)[1])
    before = resident(pid)
    peak = 0
    with ExitStack() as opened:
        for _ in range(CLIENTS):
            connection = opened.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(SOON)
            connection.connect((host, int(port)))
            connection.sendall(METRICS * 4)
        for _ in range(20):
            peak = max(peak, resident(pid))
            time.sleep(0.1)

        wait_for(lambda: scrape(address)[0] == 200, "others have their metrics")
        peak = max(peak, resident(pid))

    assert size * CLIENTS > 2 * GROWTH, "there is too little to send for a copy each to be noticed"
    assert peak - before < GROWTH, f"{(peak - before) / MIB:.0f} MiB more for {CLIENTS} x {size / MIB:.1f} MiB"

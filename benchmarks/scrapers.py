"""The duration of a read while 24 clients scrape the metrics continuously.

The clients run in a separate process (`python -m benchmarks.scrapers ADDRESS`). The reference is the same read without
scrapers.
"""

import http.client
import io
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from errata import Client
from redis_server import free_port

from benchmarks.harness import Case, Result, at_most, medians
from benchmarks.processes import LOCAL, serving
from service.evidence.repository import EvidenceRepository

SCRAPERS, RESULTS = 24, 50  # clients; watched results (the default limit)
SECONDS, PAUSE = 2.0, 0.01  # duration of a round; pause between two reads
ROUNDS = 3
CASE = Case(
    "scrapers",
    f"GetAnalysis while {SCRAPERS} clients scrape the metrics continuously, p95",
    "without them",
    "ms",
    at_most(4),
)


def measure() -> Iterator[Result]:
    """Yield the 95th percentile of the reads."""
    http_address = f"127.0.0.1:{free_port()}"
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(LOCAL, folder, ERRATA_HTTP_ADDRESS=http_address) as address,
        Client(address) as client,
    ):
        content = _demo_csv(folder)
        names = [
            client.upload(io.BytesIO(content), "demo", labels={"model": "made", "version": str(number)}).name
            for number in range(RESULTS)
        ]
        while _scrape(http_address).count(b"errata_result_timestamp_seconds{") < RESULTS:
            time.sleep(0.5)

        def read_while_scraping() -> float:
            with _scraping(http_address):
                return _p95(client, names[0])

        yield CASE.measured(*medians(read_while_scraping, lambda: _p95(client, names[0]), times=ROUNDS, warm=1))


def _demo_csv(folder: str) -> bytes:
    """Return correct predictions for the 20 photographs."""
    demo = EvidenceRepository({}, Path(folder)).find("demo", "")
    rows = [f"{name},{value}" for name, value in zip(demo.judged_names, demo.all_targets.tolist(), strict=True)]
    return "\n".join(["file_name,predicted_class", *rows]).encode()


def _p95(client: Client, name: str) -> float:
    """Return the 95th percentile of the durations of reads."""
    durations, until = [], time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        started = time.perf_counter()
        client.get(name)
        durations.append(time.perf_counter() - started)
        time.sleep(PAUSE)
    return float(np.quantile(durations, 0.95))


@contextmanager
def _scraping(address: str) -> Iterator[None]:
    """Run the scrapers while a block runs."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.scrapers", address], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        try:
            process.stdout.readline()  # the scrapers have started
            yield
        finally:
            process.kill()
            process.wait()


def _scrape(address: str) -> bytes:
    connection = http.client.HTTPConnection(address)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read()
    finally:
        connection.close()


def _scrape_forever(address: str) -> None:
    connection = http.client.HTTPConnection(address)
    while True:
        try:
            connection.request("GET", "/metrics")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            connection.close()


if __name__ == "__main__":
    for _ in range(SCRAPERS):
        threading.Thread(target=_scrape_forever, args=(sys.argv[1],), daemon=True).start()
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    threading.Event().wait()

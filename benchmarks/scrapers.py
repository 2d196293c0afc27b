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

from benchmarks.result import Figure
from benchmarks.serving import serving
from service.evidence.repository import EvidenceRepository

SCRAPERS, RESULTS = 24, 50  # clients; watched results (the default limit)
SECONDS, PAUSE = 6.0, 0.01  # duration; pause between two reads
MAX_RATIO = 4.0


def measure() -> Iterator[Figure]:
    """Yield the 95th percentile of the reads."""
    http_address = f"127.0.0.1:{free_port()}"
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(["service", "serve", "--local"], folder, ERRATA_HTTP_ADDRESS=http_address) as address,
        Client(address) as client,
    ):
        content = _demo_csv(folder)
        names = [
            client.upload(io.BytesIO(content), "demo", labels={"model": "made", "version": str(number)}).name
            for number in range(RESULTS)
        ]
        while _scrape(http_address).count(b"errata_result_timestamp_seconds{") < RESULTS:
            time.sleep(0.5)
        _reads(client, names[0], 1.0)
        alone = _reads(client, names[0], SECONDS)
        with _scraping(http_address):
            beside = _reads(client, names[0], SECONDS)
    value, reference = (1000 * float(np.quantile(times, 0.95)) for times in (beside, alone))
    yield Figure(
        f"metrics: p95 of GetAnalysis while {SCRAPERS} clients scrape continuously",
        value=value,
        unit="ms",
        reference=reference,
        ratio=value / reference,
        aim=f"at most {MAX_RATIO:g} times the duration without them",
        holds=value <= MAX_RATIO * reference,
    )


def _demo_csv(folder: str) -> bytes:
    """Return correct predictions for the 20 photographs."""
    demo = EvidenceRepository({}, Path(folder)).find("demo", "")
    rows = [f"{name},{value}" for name, value in zip(demo.judged_names, demo.all_targets.tolist(), strict=True)]
    return "\n".join(["file_name,predicted_class", *rows]).encode()


def _reads(client: Client, name: str, seconds: float) -> list[float]:
    """Return the duration of each read."""
    result, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        client.get(name)
        result.append(time.perf_counter() - started)
        time.sleep(PAUSE)
    return result


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

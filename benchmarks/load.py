"""The duration of reads under load: 16 clients with uploads of 1.6 MB, GetAnalysis, ListVerdicts, and reports for 30 s.

Each client has its own connection and rate. Calls that the service refuses with RESOURCE_EXHAUSTED are retried; other
errors count as errors. The reference is the same load without uploads and reports. The resident memory of the service
is read from its metrics after a third of the time and at the end.
"""

import io
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from errata import Client
from errata.errors import ErrataError, TooBusy
from redis_server import free_port

from benchmarks.result import Figure
from benchmarks.serving import serving
from benchmarks.synthetic import predictions_csv

SECONDS = 30.0
ALONE_SECONDS = 8.0
AIM_MS = 50.0
GROWTH = 0.1  # share of the resident memory after warm-up
MIX = {
    "upload": (4, 1.0),
    "get": (6, 10.0),
    "verdicts": (4, 5.0),
    "report": (2, 0.25),
}  # clients; calls per second and client
READS = ("get", "verdicts")


@dataclass
class LoadResult:
    """The durations and errors of a run."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    refused: int = 0
    errors: list[str] = field(default_factory=list)

    def p99(self, *kinds: str) -> float:
        """Return the 99th percentile of the durations of these calls, in ms."""
        return 1000 * float(np.quantile([second for kind in kinds for second in self.seconds[kind]], 0.99))


def measure() -> Iterator[Figure]:
    """Yield the 99th percentile of reads and the growth of memory."""
    content = predictions_csv()
    http = f"127.0.0.1:{free_port()}"
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(["service", "serve", "--local"], folder, ERRATA_HTTP_ADDRESS=http) as address,
    ):
        with Client(address) as client:
            names = [client.upload(io.BytesIO(content), "imagenet-real").name for _ in range(3)]
        alone = _run(address, names, content, ALONE_SECONDS, READS)
        resident: list[float] = []
        warm = threading.Timer(SECONDS / 3, lambda: resident.append(_resident(http)))
        warm.start()
        loaded = _run(address, names, content, SECONDS, tuple(MIX))
        warm.join()
        resident.append(_resident(http))
    value, reference = loaded.p99(*READS), alone.p99(*READS)
    counts = ", ".join(f"{len(times)} {kind}" for kind, times in sorted(loaded.seconds.items()))
    wrong = f"{len(loaded.errors)} errors" + (f" ({loaded.errors[0]:.80})" if loaded.errors else "")
    yield Figure(
        f"load, 16 clients, {SECONDS:g} s: {counts}, {loaded.refused} refused, {wrong}; p99 of reads",
        value=value,
        unit="ms",
        reference=reference,
        ratio=value / reference,
        aim=f"p99 under {AIM_MS:g} ms, no error but RESOURCE_EXHAUSTED",
        holds=value < AIM_MS and not loaded.errors and all(loaded.seconds[kind] for kind in MIX),
    )
    first, last = resident
    yield Figure(
        "load: the service's resident memory at the end, and after a third of the time",
        value=last / 1e6,
        unit="MB",
        reference=first / 1e6,
        ratio=last / first,
        aim=f"at most {100 * GROWTH:g} % more",
        holds=last <= first * (1 + GROWTH),
    )


def _run(address: str, names: list[str], content: bytes, seconds: float, kinds: tuple[str, ...]) -> LoadResult:
    """Run the clients of these kinds for a number of seconds."""
    result, lock, until = LoadResult(), threading.Lock(), time.perf_counter() + seconds

    def call(kind: str, client: Client, number: int) -> None:
        name = names[number % len(names)]
        match kind:
            case "upload":
                client.delete(client.upload(io.BytesIO(content), "imagenet-real").name)
            case "get":
                client.get(name)
            case "verdicts":
                list(client.verdicts(name, most=100))
            case "report":
                client.report(name)

    def run(kind: str, place: int, pace: float) -> None:
        with Client(address, attempts=1) as client:
            due, number = time.perf_counter() + place / 16 / pace, 0
            while due < until:
                time.sleep(max(0.0, due - time.perf_counter()))
                started = time.perf_counter()
                try:
                    call(kind, client, number)
                except TooBusy:
                    with lock:
                        result.refused += 1
                except ErrataError as error:
                    with lock:
                        result.errors.append(f"{kind}: {error}")
                else:
                    with lock:
                        result.seconds[kind].append(time.perf_counter() - started)
                number += 1
                due = max(due + 1 / pace, time.perf_counter())

    clients = [(kind, pace) for kind, (count, pace) in MIX.items() if kind in kinds for _ in range(count)]
    with ThreadPoolExecutor(len(clients)) as pool:
        running = [pool.submit(run, kind, place, pace) for place, (kind, pace) in enumerate(clients)]
    for future in running:
        future.result()  # raises the error of a client
    return result


def _resident(http: str) -> float:
    """Return the resident memory of the service, in bytes."""
    with urllib.request.urlopen(f"http://{http}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("process_resident_memory_bytes "))

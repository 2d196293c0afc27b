"""The duration of reads under load: 16 clients with uploads of 1.6 MB, GetAnalysis, ListVerdicts, and reports.

Each client has its own connection and rate. Calls that the service refuses with RESOURCE_EXHAUSTED are retried; other
errors count as errors. The reference is the same load without uploads and reports. The resident memory of the service
is read from its metrics after the first round with all calls and at the end.
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

from benchmarks.harness import Case, Result, at_most, medians
from benchmarks.processes import LOCAL, serving
from benchmarks.synthetic import predictions_csv

SECONDS, ROUNDS = 8.0, 3
# The clients of each call, and the calls per second of one client.
MIX = {"upload": (4, 1.0), "get": (6, 10.0), "verdicts": (4, 5.0), "report": (2, 0.25)}
READS = ("get", "verdicts")
LATENCY = Case(
    "load.reads",
    "80 reads per second beside 4 uploads and half a report, 16 clients, p99; no errors",
    "the reads alone",
    "ms",
    at_most(10),
)
MEMORY = Case(
    "load.memory", "resident memory of the service after this load", "after a quarter of it", "MB", at_most(1.1)
)


@dataclass
class LoadResult:
    """The durations and errors of the calls."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)

    def p99(self, *kinds: str) -> float:
        """Return the 99th percentile of the durations of these calls."""
        return float(np.quantile([second for kind in kinds for second in self.seconds[kind]], 0.99))


def measure() -> Iterator[Result]:
    """Yield the 99th percentile of reads and the growth of memory."""
    content = predictions_csv()
    http = f"127.0.0.1:{free_port()}"
    resident: list[float] = []
    problems: set[str] = set()
    with tempfile.TemporaryDirectory() as folder, serving(LOCAL, folder, ERRATA_HTTP_ADDRESS=http) as address:
        with Client(address) as client:
            names = [client.upload(io.BytesIO(content), "imagenet-real").name for _ in range(3)]

        def run(*kinds: str) -> float:
            result = _run(address, names, content, kinds)
            problems.update(error[:80] for error in result.errors)
            problems.update(f"no {kind} succeeded" for kind in kinds if not result.seconds[kind])
            return result.p99(*READS)

        def run_all() -> float:
            p99 = run(*MIX)
            resident.append(_resident(http))
            return p99

        loaded, alone = medians(run_all, lambda: run(*READS), times=ROUNDS, warm=1)
    yield LATENCY.measured(loaded, alone, problem="; ".join(sorted(problems)))
    yield MEMORY.measured(resident[-1], resident[0])


def _run(address: str, names: list[str], content: bytes, kinds: tuple[str, ...]) -> LoadResult:
    """Run the clients of these kinds for SECONDS."""
    result, lock, until = LoadResult(), threading.Lock(), time.perf_counter() + SECONDS

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
                    pass  # the next call is the retry
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

"""The start time of `errata --help` and of the local service."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from benchmarks.result import Figure, median_seconds
from benchmarks.serving import serving

TIMES = 5
HELP_AIM, READY_AIM = 0.3, 2.0  # seconds


def measure() -> Iterator[Figure]:
    """Yield the median of both start times."""
    errata = [sys.executable, "-m", "service"]
    bare = median_seconds(lambda: subprocess.run([sys.executable, "-c", ""], check=True), TIMES)
    help_seconds = median_seconds(
        lambda: subprocess.run([*errata, "--help"], check=True, stdout=subprocess.DEVNULL), TIMES
    )
    yield Figure(
        "errata --help (reference: python -c '')",
        value=help_seconds * 1000,
        unit="ms",
        reference=bare * 1000,
        ratio=help_seconds / bare,
        aim=f"under {HELP_AIM * 1000:g} ms",
        holds=help_seconds < HELP_AIM,
    )
    with tempfile.TemporaryDirectory() as folder:
        ready = statistics.median(_seconds_until_ready(folder) for _ in range(TIMES))
    yield Figure(
        "errata serve --local, until ready",
        value=ready * 1000,
        unit="ms",
        aim=f"under {READY_AIM * 1000:g} ms",
        holds=ready < READY_AIM,
    )


def _seconds_until_ready(folder: str) -> float:
    started = time.perf_counter()
    with serving(["service", "serve", "--local"], folder):
        return time.perf_counter() - started

"""The start time of `errata --help` and of the local service."""

import sys
import tempfile
import time
from collections.abc import Iterator

from benchmarks.harness import Case, Result, at_most, minima, timed
from benchmarks.processes import LIBRARIES, LOCAL, run, serving

TIMES = 9
HELP = Case("start.help", "errata --help", "python -c 'import click'", "ms", at_most(3.0))
READY = Case("start.ready", "errata serve --local, until ready", f"python -c '{LIBRARIES}'", "ms", at_most(4.0))


def measure() -> Iterator[Result]:
    """Yield the minimum of both start times."""
    with tempfile.TemporaryDirectory() as folder:
        show_help, client_imports, start, service_imports = minima(
            timed(lambda: run(sys.executable, "-m", "service", "--help")),
            timed(lambda: run(sys.executable, "-c", "import click")),
            lambda: _seconds_until_ready(folder),
            timed(lambda: run(sys.executable, "-c", LIBRARIES)),
            times=TIMES,
        )
    yield HELP.measured(show_help, client_imports)
    yield READY.measured(start, service_imports)


def _seconds_until_ready(folder: str) -> float:
    started = time.perf_counter()
    with serving(LOCAL, folder):
        return time.perf_counter() - started

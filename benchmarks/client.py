"""The installed size of errata-client, and the start of `errata list`, in a fresh virtual environment."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.result import Figure
from benchmarks.serving import serving

CLIENT = Path(__file__).resolve().parents[1] / "client"
TIMES = 9
SIZE_AIM = 45  # MB
START_AIM = 2.5  # times `import grpc`


def measure() -> Iterator[Figure]:
    """Yield the size of the environment, with and without pip, and the time of `errata list`."""
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "client"
        _run(sys.executable, "-m", "venv", "--without-pip", str(environment))
        python = str(environment / "bin" / "python")
        _run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", str(CLIENT))
        size = _megabytes(environment)
        yield Figure(
            "errata-client, a fresh virtual environment without pip",
            value=size,
            unit="MB",
            aim=f"at most {SIZE_AIM} MB",
            holds=size <= SIZE_AIM,
        )
        with_pip = Path(folder) / "with-pip"
        _run(sys.executable, "-m", "venv", str(with_pip))
        empty = _megabytes(with_pip)
        yield Figure(
            "the same with pip (reference: pip alone)",
            value=size + empty,
            unit="MB",
            reference=empty,
            aim="none: pip's size depends on Python",
            holds=True,
        )
        with serving(["service", "serve", "--local"], folder) as address:
            listing, bare = _alternating_seconds(
                [str(environment / "bin" / "errata"), "list", "--server", address], [python, "-c", "import grpc"]
            )
    yield Figure(
        "errata list, from start to end (reference: python -c 'import grpc')",
        value=listing * 1000,
        unit="ms",
        reference=bare * 1000,
        ratio=listing / bare,
        aim=f"at most {START_AIM:g} times",
        holds=listing <= START_AIM * bare,
    )


def _alternating_seconds(first: list[str], second: list[str]) -> tuple[float, float]:
    """Return the median seconds of two commands, run alternately so that both see the same load."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(TIMES + 1):
        for command, seconds in zip((first, second), times, strict=True):
            start = time.perf_counter()
            _run(*command)
            if number > 0:  # the first run writes and caches byte code
                seconds.append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def _run(*command: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _megabytes(folder: Path) -> float:
    """Return the size of a folder on disk, as `du -sm` counts it."""
    return sum(path.lstat().st_blocks * 512 for path in (folder, *folder.rglob("*"))) / (1 << 20)

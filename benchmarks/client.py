"""The installed size of errata-client, and the duration of `errata list`, in a fresh virtual environment."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Case, Result, at_most, minima, timed
from benchmarks.processes import CHECKOUT, LOCAL, serving

TIMES = 9
SIZE = Case(
    "client.size", "virtual environment of errata-client without pip", "its packages grpc and google", "MB", at_most(3)
)
LIST = Case("client.list", "errata list, from start to end", "python -c 'import grpc'", "ms", at_most(2.5))


def measure() -> Iterator[Result]:
    """Yield the size of the environment and the time of `errata list`."""
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "client"
        _run(sys.executable, "-m", "venv", "--without-pip", str(environment))
        python = str(environment / "bin" / "python")
        _run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", str(CHECKOUT / "client"))
        packages = next(environment.glob("lib/python*/site-packages"))
        yield SIZE.measured(_disk_bytes(environment), sum(_disk_bytes(packages / name) for name in ("grpc", "google")))
        with serving(LOCAL, folder) as address:
            command = str(environment / "bin" / "errata"), "list", "--server", address
            yield LIST.measured(
                *minima(timed(lambda: _run(*command)), timed(lambda: _run(python, "-c", "import grpc")), times=TIMES)
            )


def _run(*command: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _disk_bytes(folder: Path) -> float:
    """Return the size of a folder on disk, as `du` counts it."""
    return sum(path.lstat().st_blocks * 512 for path in (folder, *folder.rglob("*")))

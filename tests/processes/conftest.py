"""Real processes: the errata command as a person runs it, and a service that other processes call."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import pytest

Errata = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class Serving:
    """A service in a process of its own."""

    process: "subprocess.Popen[str]"
    grpc: str
    http: str
    log: list[str]  # lines after it was ready; whole once the block has ended


def environment(data_dir: Path, **settings: str) -> dict[str, str]:
    """What a command sees: nothing of Errata's but these settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ERRATA_")}
    return inherited | {"ERRATA_DATA_DIR": str(data_dir), "COLUMNS": "140"} | settings


@pytest.fixture
def errata(data_dir: Path, tmp_path: Path) -> Errata:
    """Run the command to its end, with an archive of the test's own."""

    def run(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "service", *arguments],
            env=environment(data_dir, **({"ERRATA_ARCHIVE": str(tmp_path / "archive")} | settings)),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@contextmanager
def serving(data_dir: Path, archive: Path, **settings: str) -> Iterator[Serving]:
    """Run `errata serve --local` on free ports."""
    addresses = {"ERRATA_GRPC_ADDRESS": "127.0.0.1:0", "ERRATA_HTTP_ADDRESS": "127.0.0.1:0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "serve", "--local"],
        env=environment(data_dir, ERRATA_ARCHIVE=str(archive), **(addresses | settings)),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    log: list[str] = []
    reader = Thread(target=lambda: log.extend(process.stderr or ()), daemon=True)
    try:
        for line in process.stderr:
            event = json.loads(line)
            if event["event"] == "ready":
                break
        else:
            pytest.fail(f"the service ended with {process.wait()} before it was ready")
        reader.start()  # a log that nobody reads would stop it
        yield Serving(process, event["grpc"], event["http"], log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        if reader.ident is not None:
            reader.join()
        process.stderr.close()


@pytest.fixture
def server(data_dir: Path, tmp_path: Path) -> Iterator[Serving]:
    """A service in a process of its own, with an archive of the test's own."""
    with serving(data_dir, tmp_path / "archive") as service:
        yield service

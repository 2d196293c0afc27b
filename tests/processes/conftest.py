"""Fixtures that run the errata command, and the service in a separate process."""

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
from command import Done, run_command
from running_service import Running, start_service

Errata = Callable[..., Done]


@dataclass(frozen=True)
class Serving:
    """A service in a separate process."""

    process: "subprocess.Popen[str]"
    grpc: str
    http: str
    log: list[str]  # lines after the event `ready`; complete after the block


def environment(data_dir: Path, **settings: str) -> dict[str, str]:
    """Return the environment of a command, without ERRATA_ variables except for these settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ERRATA_")}
    return inherited | {"ERRATA_DATA_DIR": str(data_dir), "ERRATA_THREADS": "1", "COLUMNS": "140"} | settings


@pytest.fixture
def errata(data_dir: Path, tmp_path: Path) -> Errata:
    """Return a function that runs the command with a separate archive."""

    def run(*arguments: str, **settings: str) -> Done:
        return run_command(
            arguments, environment(data_dir, **({"ERRATA_ARCHIVE": str(tmp_path / "archive")} | settings))
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
        reader.start()  # reads the log, since a full pipe would block the service
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
    """A service in a separate process with a separate archive."""
    with serving(data_dir, tmp_path / "archive") as service:
        yield service


@pytest.fixture(scope="module")
def service(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with a hash predictor in this process."""
    with start_service(data_dir, tmp_path_factory.mktemp("archive")) as running:
        yield running

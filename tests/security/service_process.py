"""An API process of any checkout, in a separate session, so that its process tree can be measured."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from security.process_tree import end_session

START_SECONDS = 60.0
STOP_SECONDS = 30.0
LOCAL = ("serve", "--local")
CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class ServiceProcess:
    """A service that is ready. Its process id is its session's too."""

    process: "subprocess.Popen[bytes]"
    grpc: str  # host:port
    log: Path

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self.process.pid

    def ended(self) -> str:
        """Return how the process ended, empty while it lives."""
        code = self.process.poll()
        if code is None:
            return ""
        return f"server died ({signal.Signals(-code).name})" if code < 0 else f"server ended with {code}"


Serve = Callable[[], ServiceProcess]


@contextmanager
def running_service(
    folder: Path, data: Path, source: Path = CHECKOUT, command: Sequence[str] = LOCAL, **settings: str
) -> Iterator[ServiceProcess]:
    """Run `errata serve` until the block ends, and leave no process behind.

    Args:
        folder: Folder for the log, the archive, and temporary files.
        data: Its data folder, in which bundles are built once.
        source: The checkout whose `service` package runs.
        command: The command line after `errata`.
        **settings: Further environment variables.
    """
    scratch = folder / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ERRATA_")}
    environment |= {"PYTHONPATH": f"{source}:{source / 'client'}", "TMPDIR": str(scratch)}
    environment |= {"ERRATA_DATA_DIR": str(data), "ERRATA_THREADS": "1", "ERRATA_ARCHIVE": str(folder / "archive")}
    environment |= {"ERRATA_GRPC_ADDRESS": "127.0.0.1:0", "ERRATA_HTTP_ADDRESS": "127.0.0.1:0"}
    environment |= {"ERRATA_LOG_FORMAT": "json", "ERRATA_GRACE_SECONDS": "1"} | settings
    log = folder / "service.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", *command],
            env=environment,
            cwd=source,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield ServiceProcess(process, _ready(process, log), log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:  # a thread that parses may hold it up
            process.kill()
            process.wait()
        end_session(process.pid)


def _ready(process: "subprocess.Popen[bytes]", log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith("{") and line.endswith("}") and (event := json.loads(line))["event"] == "ready":
                return str(event["grpc"])
        time.sleep(0.02)
    raise AssertionError(f"the service is not ready: {log.read_text(errors='replace')[-2000:]}")

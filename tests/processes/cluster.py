"""A service with separate processes for Redis, the API, and workers, which tests can kill and start."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from errata import Client
from redis_server import RedisServer, free_port

from .conftest import environment

ROOT = Path(__file__).parents[2]
HEARTBEAT = 3.0  # seconds; a worker's lease lasts two thirds of it
REDIS_PASSWORD = "password-of-the-tests-redis"  # this Redis accepts any password
SOON = 40.0  # seconds; the default timeout


def wait_for(condition: Callable[[], object], what: str, seconds: float = SOON) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"timeout: {what}"
        time.sleep(0.05)


class Cluster:
    """The processes of one service; `folder` has their logs, the data of Redis, and the archive."""

    def __init__(self, data_dir: Path, folder: Path, **settings: str) -> None:
        self.redis = RedisServer(folder)
        self.folder = folder
        self.grpc, self.http = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.worker_http = settings.get("ERRATA_WORKER_HTTP_ADDRESS", "127.0.0.1:0")  # a free port for each worker
        defaults = {
            "ERRATA_ARCHIVE": str(folder / "archive"),
            "ERRATA_REDIS_URL": self.redis.url.replace("redis://", f"redis://default:{REDIS_PASSWORD}@"),
            "ERRATA_GRPC_ADDRESS": self.grpc,
            "ERRATA_HTTP_ADDRESS": self.http,
            "ERRATA_WORKER_HTTP_ADDRESS": self.worker_http,
            "ERRATA_HEARTBEAT_SECONDS": str(HEARTBEAT),
            "ERRATA_SHARD_SIZE": "5",
            "ERRATA_GRACE_SECONDS": "1",
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "client"))),
        }
        self.settings = environment(data_dir, **(defaults | settings))
        self.api: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []
        self._logs = 0

    def start_api(self, wait: bool = True) -> "subprocess.Popen[bytes]":
        self.api = self._start(["-m", "service", "serve"])
        if wait:
            wait_for(self.ready, "the API is ready")
        return self.api

    def start_worker(self, seconds: float = 0.1, **settings: str) -> "subprocess.Popen[bytes]":
        """Start a worker that needs `seconds` per image."""
        worker = self._start([str(Path(__file__).parent / "slow_worker.py")], SECONDS=str(seconds), **settings)
        self.workers.append(worker)
        return worker

    def start_real_worker(self, **settings: str) -> "subprocess.Popen[bytes]":
        """Start a worker that runs torch in a child process."""
        worker = self._start(["-m", "service", "work"], **settings)
        self.workers.append(worker)
        return worker

    def client(self) -> Client:
        return Client(self.grpc, attempts=1)  # no retries

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.http}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def metric(self, name: str) -> float:
        """Return the value of a metric of the API, summed over its labels."""
        with urllib.request.urlopen(f"http://{self.http}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    def events(self, event: str) -> list[dict[str, object]]:
        """Return the log lines of an event from all processes."""
        result = []
        for file in sorted(self.folder.glob("*.log")):
            for line in file.read_text().splitlines():
                if line.startswith("{") and (fields := json.loads(line))["event"] == event:
                    result.append(fields)
        return result

    def stop(self) -> None:
        for process in (*self.workers, self.api):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait(10)
        self.redis.stop()

    def _start(self, arguments: list[str], **settings: str) -> "subprocess.Popen[bytes]":
        self._logs += 1
        with (self.folder / f"{self._logs:02d}.log").open("wb") as log:
            return subprocess.Popen([sys.executable, *arguments], env=self.settings | settings, stdout=log, stderr=log)


@contextmanager
def cluster(data_dir: Path, folder: Path, workers: int = 1, seconds: float = 0.1, **settings: str) -> Iterator[Cluster]:
    """Start Redis, the API, and workers; stop them after the block."""
    running = Cluster(data_dir, folder, **settings)
    try:
        running.redis.start()
        running.start_api()
        for _ in range(workers):
            running.start_worker(seconds)
        wait_for(lambda: running.metric("errata_live_workers") == workers, f"{workers} workers live")
        yield running
    finally:
        running.stop()

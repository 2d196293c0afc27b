"""A Redis for tests on a free port with an append-only file, which tests can kill and start."""

import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import redis


def _shuffled_ports() -> Iterator[int]:
    """Yield the ports of this worker of pytest-xdist, of which the system gives none to a connection.

    On Linux, connections have 32,768 to 60,999.
    """
    worker, num_workers = (os.environ.get(f"PYTEST_XDIST_{name}", "") for name in ("WORKER", "WORKER_COUNT"))
    ports = [*range(20_000 + int(worker[2:] or 0), 32_000, int(num_workers or 1))]
    random.SystemRandom().shuffle(ports)  # not the seeded generator, which processes may share
    return itertools.cycle(ports)


_ports = _shuffled_ports()


def free_port() -> int:
    """Return a free port. No other call returns it soon, although the caller uses it only later."""
    while True:
        port = next(_ports)
        with socket.socket() as result, suppress(OSError):
            result.bind(("127.0.0.1", port))
            return port


class RedisServer:
    """A process redis-server; `folder` has its data, which persist across restarts."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, append_only: bool = True) -> "RedisServer":
        program = shutil.which("redis-server")
        assert program is not None, "redis-server is not installed: run `make test`, which sets it up"
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        arguments += [
            "--appendonly",
            "yes" if append_only else "no",
            "--appendfsync",
            "everysec",
            "--maxmemory-policy",
            "volatile-lru",
        ]
        self.process = subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not self.answers():
            assert self.process.poll() is None, "redis-server ended at once"
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.02)
        return self

    def answers(self) -> bool:
        try:
            with redis.Redis(port=self.port, socket_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=5)

    def save(self) -> bytes:
        """Return a snapshot of all data for `restore`."""
        with self.client() as client:
            client.save()
        return (self.folder / "dump.rdb").read_bytes()

    def restore(self, snapshot: bytes) -> None:
        """Restart the server with an older snapshot, as when a backup is restored."""
        self.kill()
        shutil.rmtree(self.folder / "appendonlydir")
        (self.folder / "dump.rdb").write_bytes(snapshot)
        self.start(append_only=False)  # Redis ignores the snapshot if there is an append-only file

    def kill(self) -> None:
        """Kill the server as in a crash, without saving."""
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(10)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(10)

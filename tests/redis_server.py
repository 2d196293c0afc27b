"""A real Redis for tests: on a free port, with an append-only file, killed and started again at will."""

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import redis


def free_port() -> int:
    with socket.socket() as result:
        result.bind(("127.0.0.1", 0))
        return int(result.getsockname()[1])


class RedisServer:
    """A redis-server process of our own; `folder` keeps its data from one start to the next."""

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

    def client(self) -> "redis.Redis[bytes]":
        return redis.Redis(port=self.port, socket_timeout=5)

    def save(self) -> bytes:
        """A snapshot of everything, for `restore`."""
        with self.client() as client:
            client.save()
        return (self.folder / "dump.rdb").read_bytes()

    def restore(self, snapshot: bytes) -> None:
        """Kill it and start it again with an older snapshot, as an operator restores a backup."""
        self.kill()
        shutil.rmtree(self.folder / "appendonlydir")
        (self.folder / "dump.rdb").write_bytes(snapshot)
        self.start(append_only=False)  # with it, Redis ignores the snapshot

    def kill(self) -> None:
        """End it as a crash does: nothing is written on the way out."""
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

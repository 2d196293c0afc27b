"""Processes of the benchmarks: services, workers, Redis, and commands, also of another revision."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median

from redis_server import RedisServer

CHECKOUT = Path(__file__).resolve().parents[1]
LIBRARIES = "import grpc, jinja2, numpy, prometheus_client, pyarrow.csv, pydantic, starlette, structlog, uvicorn"
LOCAL = ("service", "serve", "--local")
FOLDERS = 10  # of which the one is used in which files are created most quickly


@contextmanager
def redis_server() -> Iterator[tuple[str, Path]]:
    """Run Redis while a block runs; yield its URL and a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder)).start()
        try:
            yield server.url, Path(folder)
        finally:
            server.stop()


@contextmanager
def serving(
    arguments: tuple[str, ...],
    folder: str | Path,
    event_name: str = "ready",
    checkout: Path = CHECKOUT,
    /,
    **settings: str,
) -> Iterator[str]:
    """Run `python -m …` until the block ends; yield the address from a log event.

    Args:
        arguments: The module and its arguments.
        folder: The data folder.
        event_name: The log event of a process that is ready.
        checkout: The checkout that has the module.
        **settings: Environment variables.
    """
    variables = {name: value for name, value in environment(checkout).items() if not name.startswith("ERRATA_")}
    variables |= {"ERRATA_DATA_DIR": str(folder), "ERRATA_LOG_FORMAT": "json"}
    variables |= {"ERRATA_GRPC_ADDRESS": "127.0.0.1:0", "ERRATA_HTTP_ADDRESS": "127.0.0.1:0"}
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env=variables | settings,
        cwd=checkout,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process.stderr:
        try:
            for line in process.stderr:
                event = json.loads(line)
                if event["event"] == event_name:
                    break
            else:
                raise RuntimeError(f"{arguments} ended before it was ready")
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield event.get("grpc") or event["http"]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


@contextmanager
def settled_folder() -> Iterator[Path]:
    """Yield a temporary folder in which files are created quickly.

    Without a journal, ext4 does not reuse an inode until some minutes after its file was deleted. Until then, each new
    file searches past all these inodes, which can take longer than all other work of an upload on the disk.
    """
    with tempfile.TemporaryDirectory() as parent:
        with suppress(FileNotFoundError):  # `chattr` is not installed
            # With this attribute, ext4 puts each subfolder, with its files, in another part of the disk.
            subprocess.run(["chattr", "+T", parent], check=False, stderr=subprocess.DEVNULL)
        folders = [Path(tempfile.mkdtemp(dir=parent)) for _ in range(FOLDERS)]
        yield min(folders, key=_creation_seconds)


def _creation_seconds(folder: Path) -> float:
    """Return the median time in which a file is created."""
    times = []
    for _ in range(11):
        started = time.perf_counter()
        (folder / uuid.uuid4().hex).touch()
        times.append(time.perf_counter() - started)
    return median(times)


@contextmanager
def running(
    redis: str, folder: str | Path, workers: int, checkout: Path = CHECKOUT, /, **settings: str
) -> Iterator[str]:
    """Run an API and workers with a Redis while a block runs; yield the address of the API."""
    settings = {"ERRATA_REDIS_URL": redis, "ERRATA_WORKER_HTTP_ADDRESS": "127.0.0.1:0"} | settings
    with ExitStack() as stack:
        address = stack.enter_context(serving(("service", "serve"), folder, "ready", checkout, **settings))
        for _ in range(workers):
            stack.enter_context(serving(("service", "work"), folder, "worker ready", checkout, **settings))
        yield address


@contextmanager
def checkout_of(revision: str) -> Iterator[Path]:
    """Check out a revision in a git worktree while a block runs; yield its folder."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "checkout"
        git = ["git", "-C", str(CHECKOUT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(folder), revision], check=True)
        try:
            run(sys.executable, "client/generate.py", checkout=folder)
            yield folder
        finally:
            subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def run(*command: str, checkout: Path = CHECKOUT) -> str:
    """Run a command with the packages of a checkout; return its output."""
    done = subprocess.run(
        command, check=True, cwd=checkout, env=environment(checkout), stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def environment(checkout: Path) -> dict[str, str]:
    """Return the environment variables of a process that imports the packages of a checkout."""
    folders = [checkout, checkout / "client", checkout / "tests"]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}

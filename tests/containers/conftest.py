"""The images, built once, and a stack of containers that the tests of a module share."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from .stack import ROOT, Stack, docker, override

API, WORKER = "errata-test-api", "errata-test-worker"
WHEELS_PORT = 47_813


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def _served_wheels() -> Iterator[str]:
    """Yield the arguments with which pip finds torch for CPUs: PIP_ARGS, or a server of pip's own folder of wheels."""
    if arguments := os.environ.get("PIP_ARGS"):
        yield arguments
        return
    configured = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.find-links"], capture_output=True, text=True, check=False
    )
    folder = os.environ.get("PIP_FIND_LINKS") or configured.stdout.strip()
    assert Path(folder or "missing").is_dir(), (
        "The worker's build does not find torch for CPUs. Set PIP_ARGS=--extra-index-url="
        "https://download.pytorch.org/whl/cpu, or "
        f"PIP_FIND_LINKS to a folder with its wheels; got {folder!r}."
    )
    with _start_server(folder) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"--find-links=http://127.0.0.1:{server.server_port}/ --trusted-host=127.0.0.1"
        server.shutdown()


def _start_server(folder: str) -> ThreadingHTTPServer:
    """Return a server of files, on the usual port if it is free: another address would not use the cache of builds."""
    for port in (WHEELS_PORT, 0):
        with suppress(OSError):
            return ThreadingHTTPServer(("127.0.0.1", port), partial(_Quiet, directory=folder))
    raise OSError("no port is free")


def _build(name: str, file: str, *arguments: str) -> float:
    """Build an image, and return the seconds that it took."""
    started = time.monotonic()
    command = ["docker", "build", "--network=host", f"--file={ROOT}/deploy/{file}", f"--tag={name}", *arguments]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return time.monotonic() - started


@pytest.fixture(scope="session")
def images() -> dict[str, float]:
    """Build both images, and return the seconds of each build."""
    try:
        docker("info")
    except (FileNotFoundError, subprocess.CalledProcessError):
        assert "ERRATA_CONTAINERS" not in os.environ, "no container engine runs"
        pytest.skip("no container engine runs: `make test-containers` starts one")
    with _served_wheels() as pip_args:
        return {
            API: _build(API, "api.Dockerfile"),
            WORKER: _build(WORKER, "worker.Dockerfile", f"--build-arg=PIP_ARGS={pip_args}"),
        }


@pytest.fixture(scope="session")
def image_names(images: dict[str, float], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that sets the names of the images."""
    return override(tmp_path_factory.mktemp("images"), {"api": {"image": API}, "worker": {"image": WORKER}})


@contextmanager
def running(stack: Stack) -> Iterator[Stack]:
    """Start a stack without data, and remove it and its data afterwards."""
    stack.down("--volumes")  # of a run that was interrupted
    try:
        stack.up()
        yield stack
    finally:
        stack.down("--volumes")


@pytest.fixture(scope="module")
def stack(image_names: Path) -> Iterator[Stack]:
    """The stack of docker-compose.yml as it is, with monitoring."""
    with running(Stack("errata-test", image_names)) as result:
        yield result

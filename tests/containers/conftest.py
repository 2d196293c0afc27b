"""The images, built once, and a stack of containers that the tests of a module share."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from .stack import ROOT, Stack, docker, override

API, WORKER = "errata-test-api", "errata-test-worker"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="session")
def images() -> dict[str, float]:
    """Build both images, and return the seconds of each build."""
    try:
        docker("info")
    except (FileNotFoundError, subprocess.CalledProcessError):
        assert "ERRATA_CONTAINERS" not in os.environ, "no container engine runs"
        pytest.skip("no container engine runs: make test-containers starts one")
    wheels = subprocess.run(["pip", "config", "get", "global.find-links"], capture_output=True, text=True, check=False)
    folder = os.environ.get("PIP_FIND_LINKS") or wheels.stdout.strip() or str(ROOT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pip_args = f"--find-links=http://127.0.0.1:{server.server_port}/ --trusted-host=127.0.0.1"
    seconds = {}
    for name, file, arguments in (
        (API, "api", []),
        (WORKER, "worker", ["--build-arg", f"PIP_ARGS={os.environ.get('PIP_ARGS') or pip_args}"]),
    ):
        started = time.monotonic()
        docker(
            "build", "--quiet", "--network=host", f"--file={ROOT}/deploy/{file}.Dockerfile", f"--tag={name}",
            *arguments, str(ROOT),
        )  # fmt: skip
        seconds[name] = time.monotonic() - started
    server.shutdown()
    return seconds


@pytest.fixture(scope="session")
def image_names(images: dict[str, float], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that sets the names of the images."""
    return override(tmp_path_factory.mktemp("images"), {"api": {"image": API}, "worker": {"image": WORKER}})


@pytest.fixture(scope="module")
def stack(image_names: Path) -> Iterator[Stack]:
    """The stack of docker-compose.yml as it is, with monitoring."""
    running = Stack("errata-test", {"docker-compose.yml": ROOT / "docker-compose.yml", "images": image_names})
    try:
        running.up()
        yield running
    finally:
        running.down("--volumes")

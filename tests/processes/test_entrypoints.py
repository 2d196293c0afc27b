"""The entrypoints of the images, run by another user who can write only to `/data` and `/tmp`."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from errata import Client, pb
from redis_server import RedisServer, free_port

from .cluster import wait_for

ROOT = Path(__file__).resolve().parents[2]
USER = 10001
READ_ALL = "-all,+dac_read_search"  # the only capability: read the files of root, such as its Python
AS_ANOTHER_USER = [
    "setpriv",
    *(f"--{which}={USER}" for which in ("reuid", "regid")),
    "--clear-groups",
    "--no-new-privs",
    *(f"--{which}={READ_ALL}" for which in ("inh-caps", "ambient-caps", "bounding-set")),
]


@dataclass(frozen=True)
class Image:
    """The settings and commands of a Dockerfile."""

    settings: dict[str, str]
    command: list[str]  # entrypoint and command
    health: list[str]
    user: str


def image(name: str) -> Image:
    """Read the last stage of a Dockerfile."""
    text = (ROOT / "deploy" / f"{name}.Dockerfile").read_text().rpartition("\nFROM ")[2].replace("\\\n", " ")
    environment = re.search(r"^ENV (.*)$", text, re.MULTILINE)
    assert environment is not None
    settings = dict(pair.split("=", 1) for pair in environment[1].split())
    record, command, health = (
        json.loads(re.findall(pattern, text, re.MULTILINE)[-1])
        for pattern in (r"^ENTRYPOINT (\[.*\])$", r"^CMD (\[.*\])$", r"^HEALTHCHECK .*CMD (\[.*\])$")
    )
    return Image(settings, [*record, *command], health, re.findall(r"^USER (.*)$", text, re.MULTILINE)[-1])


class Container:
    """A process as in a container of an image: its user, no home, and one folder each for data and temporary files."""

    def __init__(self, name: str, folder: Path, **settings: str) -> None:
        self.image = image(name)
        self.rootfs = folder / name  # the read-only root folder
        self.data, self.tmp = self.rootfs / "data", self.rootfs / "tmp"
        for writable in (self.data, self.tmp):
            writable.mkdir(parents=True)
            os.chown(writable, USER, USER)
        self.rootfs.chmod(0o555)
        self.log = folder / f"{name}.log"
        own = {
            key: value.replace("/data", str(self.data)) for key, value in self.image.settings.items() if key != "PATH"
        }
        inherited = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        self.environment = inherited | own | {"HOME": str(self.rootfs), "TMPDIR": str(self.tmp)} | settings
        with self.log.open("wb") as log:
            self.process = self._start(self.image.command, stdout=log, stderr=log)

    def healthy(self, **settings: str) -> bool:
        """Run the health check of the image with this container's addresses."""
        here = [word.replace("/opt/package", str(ROOT)) for word in self.image.health]
        check = self._start(here, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **settings)
        return check.wait(20) == 0

    def _start(self, command: list[str], stdout: object, stderr: object, **settings: str) -> "subprocess.Popen[bytes]":
        if command[0] == "errata":  # the same entry point; the other user cannot read root's scripts
            command = [sys.executable, "-m", "service", *command[1:]]
        return subprocess.Popen(
            [*AS_ANOTHER_USER, *command],
            cwd=self.rootfs,
            env=self.environment | settings,
            stdout=stdout,  # type: ignore[arg-type]
            stderr=stderr,  # type: ignore[arg-type]
            umask=0o077,
        )

    def written(self) -> set[str]:
        """Return the names of files outside the two writable folders."""
        return {path.name for path in self.rootfs.iterdir()} - {"data", "tmp"}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that another user can reach."""
    if os.geteuid() != 0:
        assert "ERRATA_REFERENCE_DIR" not in os.environ, "only root can change the user"
        pytest.skip("needs root, to become another user")
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/") and "pytest" in parent.name:
            parent.chmod(0o755)
    tmp_path.chmod(0o755)
    yield tmp_path
    for path in tmp_path.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)


def test_api_and_worker_run_as_another_user_and_write_only_to_data_and_tmp(folder: Path) -> None:
    grpc, http, worker_http = (f"127.0.0.1:{free_port()}" for _ in range(3))
    redis = RedisServer(folder).start()
    containers = []
    try:
        shared = {"ERRATA_REDIS_URL": redis.url}
        api = Container("api", folder, ERRATA_GRPC_ADDRESS=grpc, ERRATA_HTTP_ADDRESS=http, **shared)
        containers.append(api)
        worker = Container("worker", folder, ERRATA_WORKER_HTTP_ADDRESS=worker_http, **shared)
        containers.append(worker)
        wait_for(lambda: api.healthy(ERRATA_SERVER=grpc), "the API is healthy")
        wait_for(worker.healthy, "the worker is healthy")
        with Client(grpc) as client:
            *_, ended = client.watch(client.analyze("demo:efficientnet_lite0", "demo").name)

        assert ended.state == pb.Analysis.STATE_SUCCEEDED
        assert ended.summary.groups["all"].top1_accuracy == 0.9
        for container in containers:
            assert container.image.user == f"{USER}:{USER}"
            assert os.stat(f"/proc/{container.process.pid}").st_uid == USER
            assert container.written() == set()
        assert any(api.data.rglob("*.predictions.npz"))
        for container in reversed(containers):
            container.process.send_signal(signal.SIGTERM)
            assert container.process.wait(40) == 0
    finally:
        for container in containers:
            container.process.kill()
            container.process.wait(10)
        redis.stop()
    assert not api.healthy(ERRATA_SERVER=grpc)


def test_an_api_without_tokens_is_rejected_with_a_message(folder: Path) -> None:
    """The images listen on all addresses, so the API needs tokens or ERRATA_ALLOW_INSECURE."""
    container = Container("api", folder, ERRATA_REDIS_URL="redis://127.0.0.1:1/0")

    assert container.process.wait(30) == 2
    assert "ERRATA_TOKENS" in container.log.read_text()
    assert container.written() == set()


def test_a_worker_needs_no_tokens(folder: Path) -> None:
    port = free_port()
    worker = Container(
        "worker", folder, ERRATA_REDIS_URL="redis://127.0.0.1:1/0", ERRATA_WORKER_HTTP_ADDRESS=f"0.0.0.0:{port}"
    )

    def status(path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    try:
        wait_for(lambda: status("/livez") == 200, "the worker is live")
        assert (status("/metrics"), status("/readyz")) == (200, 503), "without Redis"
    finally:
        worker.process.terminate()
        worker.process.wait(30)

"""The script container-engine, with stubs of docker, dockerd, and the programs that change the system."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .conftest import ROOT

SCRIPT = ROOT / "tests" / "scripts" / "container-engine"
NO_OPERATION = ("docker-buildx", "docker-compose", "iptables", "podman", "catatonit", "runc", "apt-get", "chroot")
STUBS = {
    **dict.fromkeys(NO_OPERATION, "exit 0"),
    "debootstrap": "exit 1",
    "id": "echo 0",
    "df": "echo 100G",
    "python3.11": 'echo "$STATE/python"',
    # $STATE/engine exists while the engine runs, and $STATE/images/NAME for each image, with spaces for / and :
    "docker": r"""
echo "${DOCKER_HOST:-default} $*" >> "$STATE/calls"
last="${!#}"
name() { echo "$STATE/images/${1//[\/:]/ }"; }
case "$1 ${2:-}" in
  "info ") [ -e "$STATE/engine" ] ;;
  "image inspect") [ -e "$(name "$3")" ] ;;
  "pull "*) exit 1 ;;
  "import "*) cat > /dev/null; touch "$(name "$last")" ;;
  "tag "*) touch "$(name "$last")" ;;
  "run "*) [ -e "$(name "$3")" ] && [ ! -e "$STATE/broken" ] ;;
esac""",
    "dockerd": """
end() {
  [ -e "$STATE/errata-engine/dockerd.pid" ] && echo "ended with a pid file" >> "$STATE/calls"
  rm -f "$STATE/engine"
  exit
}
trap end TERM
touch "$STATE/engine"
for _ in $(seq 600); do sleep 0.1; done""",
}


class Engine:
    """The script in a folder of its own."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.folder = state / "errata-engine"
        self._stubs = state / "stubs"
        self._stubs.mkdir()
        for name, text in STUBS.items():
            (self._stubs / name).write_text(f"#!/bin/bash\n{text.strip()}\n")
            (self._stubs / name).chmod(0o755)
        site_packages = state / "python" / "lib" / "python3.11" / "site-packages"
        for path in (site_packages / "pip", site_packages / "setuptools", state / "python" / "bin", state / "images"):
            path.mkdir(parents=True)
        (state / "python" / "include").mkdir()
        self.environment = {
            "PATH": f"{self._stubs}:{os.environ['PATH']}",
            "STATE": str(state),
            "ENGINE_DIR": str(state),
        }

    def run(self, command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = self.environment | variables
        return subprocess.run(
            [str(SCRIPT), command], cwd=self.state, env=environment, capture_output=True, text=True, check=False
        )

    @contextmanager
    def other_dockerd(self, data: Path) -> "Iterator[subprocess.Popen[bytes]]":
        """Yield a dockerd that the script has not started."""
        command = [str(self._stubs / "dockerd"), "--data-root", str(data), "--debug"]
        with subprocess.Popen(command, env=self.environment) as process:
            while not (self.state / "engine").exists():
                time.sleep(0.01)
            try:
                yield process
            finally:
                process.kill()

    def image(self, name: str) -> Path:
        """Return the file that exists if the engine has an image."""
        return self.state / "images" / name.replace("/", " ").replace(":", " ")

    def calls(self) -> list[str]:
        return (self.state / "calls").read_text().splitlines()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """All base images exist; tests remove some."""
    result = Engine(tmp_path)
    (tmp_path / "calls").touch()
    images = [line.split()[1] for line in (ROOT / "docker-compose.yml").read_text().splitlines() if " image: " in line]
    for image in ("python:3.11-slim", *images):
        result.image(image).touch()
    yield result
    result.run("stop")


def test_an_engine_is_started_in_a_private_subfolder_and_stopped(engine: Engine) -> None:
    assert engine.run("start").returncode == 0
    assert (engine.state / "engine").exists()
    assert engine.folder.stat().st_mode & 0o777 == 0o700

    stopped = engine.run("stop", DOCKER_HOST="tcp://another.example:2375")

    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert not (engine.state / "engine").exists()
    assert engine.calls()[-3:] == [
        "unix:///var/run/docker.sock image prune --force",
        "unix:///var/run/docker.sock builder prune --force --keep-storage 6GB",
        "ended with a pid file",
    ]
    assert not (engine.folder / "dockerd.pid").exists()


def test_a_relative_folder_is_that_of_the_caller(engine: Engine) -> None:
    (engine.state / "engine").touch()

    assert engine.run("start", ENGINE_DIR="mine").returncode == 0

    assert (engine.state / "mine" / "errata-engine").is_dir()
    assert not (ROOT / "mine").exists()


def prepare_stand_in(engine: Engine) -> None:
    """Remove the image of Python; the Debian image exists."""
    (engine.state / "engine").touch()
    engine.image("python:3.11-slim").unlink()
    engine.image("errata-test-debian").touch()
    root = engine.folder / "root"
    (root / "etc").mkdir(parents=True)
    (root / "usr" / "local").mkdir(parents=True)
    (engine.folder / "debian").touch()


def test_a_folder_named_root_of_the_user_is_not_deleted(engine: Engine) -> None:
    prepare_stand_in(engine)
    (engine.folder / "debian").unlink()  # the Debian image is made again, in an empty folder
    (engine.state / "root").mkdir()
    (engine.state / "root" / "thesis.tex").touch()

    assert engine.run("start").returncode == 1  # the stub of debootstrap fails

    assert not (engine.folder / "root").exists()
    assert (engine.state / "root" / "thesis.tex").exists()


def test_a_stand_in_is_used_only_after_its_check(engine: Engine) -> None:
    prepare_stand_in(engine)
    (engine.state / "broken").touch()
    for _ in range(2):
        failed = engine.run("start")
        assert failed.returncode == 1
        assert "does not run in the base image" in failed.stderr
        assert not engine.image("python:3.11-slim").exists()
    (engine.state / "broken").unlink()

    assert engine.run("start").returncode == 0
    assert engine.image("python:3.11-slim").exists()


def test_a_link_is_refused_as_the_folder(engine: Engine) -> None:
    (engine.state / "target").mkdir()
    engine.folder.symlink_to(engine.state / "target")

    refused = engine.run("start")

    assert refused.returncode == 1
    assert f"{engine.folder} is a link or belongs to another user. Set ENGINE_DIR" in refused.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_of_another_user_is_refused(engine: Engine) -> None:
    engine.folder.mkdir()
    os.chown(engine.folder, 12345, 12345)

    refused = engine.run("stop")

    assert refused.returncode == 1
    assert f"{engine.folder} is a link or belongs to another user. Set ENGINE_DIR" in refused.stderr


@pytest.mark.parametrize("command", ["start", "stop"])
@pytest.mark.parametrize("data", ["data2", "elsewhere/data"])
def test_another_dockerd_with_the_id_of_a_leftover_pid_file_is_not_stopped(
    engine: Engine, command: str, data: str
) -> None:
    engine.folder.mkdir()
    with engine.other_dockerd(engine.folder / data) as process:
        (engine.folder / "dockerd.pid").write_text(f"{process.pid}\n")

        assert engine.run(command).returncode == 0

        assert process.poll() is None
    assert not (engine.folder / "dockerd.pid").exists()
    assert not any("prune" in call for call in engine.calls())


def test_a_second_start_keeps_the_engine_that_the_first_one_started(engine: Engine) -> None:
    engine.run("start")
    process_id = (engine.folder / "dockerd.pid").read_text()

    assert engine.run("start").returncode == 0

    assert (engine.folder / "dockerd.pid").read_text() == process_id
    assert engine.run("stop").returncode == 0
    assert not (engine.state / "engine").exists()

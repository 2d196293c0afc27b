"""docker-compose.yml as a stack of containers, on free ports and with volumes of its own."""

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from errata import Client
from redis_server import free_port

ROOT = Path(__file__).parents[2]
SERVICES = ("redis", "api", "worker", "prometheus")
SECONDS = 120.0


def docker(*arguments: str) -> str:
    """Return what a command of docker prints."""
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def wait_for(condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"timeout: {what}"
        time.sleep(0.2)


class Stack:
    """A project of docker-compose.

    Args:
        name: Name of the project.
        files: Files besides docker-compose.yml, which override it.
        variables: Variables of the file.
    """

    def __init__(self, name: str, files: Mapping[str, Path] | None = None, **variables: str) -> None:
        self.name = name
        self.ports = {
            f"{port}_PORT": str(free_port()) for port in ("ERRATA_GRPC", "ERRATA_HTTP", "PROMETHEUS", "GRAFANA")
        }
        self._files = files or {"docker-compose.yml": ROOT / "docker-compose.yml"}
        self._environment = os.environ | self.ports | variables

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.ports['ERRATA_GRPC_PORT']}"

    def compose(self, *arguments: str) -> str:
        """Return what a command of docker-compose prints."""
        files = [part for path in self._files.values() for part in ("--file", str(path))]
        command = ["docker-compose", "--project-directory", str(ROOT), *files, "--project-name", self.name]
        done = subprocess.run(
            [*command, "--profile", "monitoring", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    def up(self, *options: str) -> None:
        """Start the services, and wait until they are healthy."""
        self.compose("up", "--detach", "--no-build", "--wait", *options, *SERVICES)

    def down(self, *options: str) -> None:
        self.compose("down", "--timeout", "30", *options)

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "--quiet", service).split()

    def kill(self, service: str) -> None:
        """Send SIGKILL to the process of the first container, as the kernel would; its restart policy applies."""
        os.kill(int(docker("inspect", "--format", "{{.State.Pid}}", self.containers(service)[0])), signal.SIGKILL)

    def client(self, **options: Any) -> Client:
        return Client(self.grpc, **options)

    def prometheus(self, path: str) -> Any:
        url = f"http://127.0.0.1:{self.ports['PROMETHEUS_PORT']}/api/v1/{path}"
        with urllib.request.urlopen(url, timeout=10) as response:
            return json.load(response)["data"]


def override(folder: Path, services: Mapping[str, Any]) -> Path:
    """Write a file that overrides settings of services."""
    path = folder / "override.yml"
    path.write_text(yaml.safe_dump({"services": dict(services)}))
    return path

"""docker-compose.yml as a stack of containers, on free ports and with volumes of its own."""

import json
import os
import re
import shlex
import shutil
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
USED = ("docker-compose.yml", "deploy")  # what a stack reads from the project
SECONDS = 300.0  # a busy machine is no failure


def docker(*arguments: str) -> str:
    """Return what a command of docker prints."""
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def has_image(name: str) -> bool:
    """Return whether the engine has an image."""
    return subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=False).returncode == 0


def image_of(service: str) -> str:
    """Return the image of a service of docker-compose.yml."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return str(services[service]["image"])


def wait_for(condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"timeout: {what}"
        time.sleep(0.2)


class Stack:
    """A project of docker-compose on free ports.

    Args:
        name: Name of the project.
        images: A file that overrides the images of services.
        folder: The folder of docker-compose.yml.
    """

    def __init__(self, name: str, images: Path, folder: Path = ROOT) -> None:
        self.name = name
        self.folder = folder
        self.ports = {
            f"{port}_PORT": str(free_port()) for port in ("ERRATA_GRPC", "ERRATA_HTTP", "PROMETHEUS", "GRAFANA")
        }
        self.environment = os.environ | self.ports
        self.environment["COMPOSE_PROJECT_NAME"] = name
        self.environment["COMPOSE_FILE"] = f"{folder / 'docker-compose.yml'}:{images}"
        self.environment["COMPOSE_PROFILES"] = "monitoring"

    @property
    def grpc(self) -> str:
        return f"localhost:{self.ports['ERRATA_GRPC_PORT']}"

    @property
    def services(self) -> list[str]:
        """The services whose images exist, without Grafana where its image cannot be had."""
        images = json.loads(self.compose("config", "--format", "json"))["services"]
        return [name for name, service in images.items() if name != "grafana" or has_image(service["image"])]

    def compose(self, *arguments: str) -> str:
        """Return what a command of docker-compose prints."""
        return self.run(shlex.join(["docker", "compose", *arguments]))

    def run(self, script: str) -> str:
        """Return what a shell script prints that uses `docker compose` in the folder."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script.replace("docker compose", "docker-compose")],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stderr[-4000:]}{self.failures()}"
        return done.stdout

    def failures(self) -> str:
        """Return the last lines of the logs of containers that are not healthy."""
        listing = docker("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={self.name}")
        state = "{{.Name}} {{.State.Status}} {{if .State.Health}}{{json .State.Health}}{{end}}"
        texts = []
        for container in listing.split():
            described = docker("inspect", "--format", state, container)
            if " running " not in described or "unhealthy" in described:
                logs = subprocess.run(
                    ["docker", "logs", "--tail=20", container], capture_output=True, text=True, check=False
                )
                texts.append(f"\n{described[:1000]}\n{logs.stdout}{logs.stderr}")
        return "".join(texts)

    def up(self, *options: str) -> None:
        """Start the services, and wait until they are healthy."""
        self.compose("up", "--detach", "--no-build", "--wait", *options, *self.services)

    def down(self, *options: str) -> None:
        """Stop the services and remove their containers."""
        self.compose("down", "--timeout", "30", "--remove-orphans", *options)

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


def copy_project(folder: Path) -> Path:
    """Copy what a stack reads from the project, as a checkout on another machine has it."""
    for name in USED:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    return folder


def manual_block(start: str, manual: str = "deploy/README.md") -> str:
    """Return the code block of a manual that begins with a text."""
    text = (ROOT / manual).read_text()
    blocks = re.findall(r"^```\w*\n(.+?)^```$", text, re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if block.startswith(start)]
    return str(block)


def override(folder: Path, services: Mapping[str, Any]) -> Path:
    """Write a file that overrides settings of services."""
    path = folder / "override.yml"
    path.write_text(yaml.safe_dump({"services": dict(services)}))
    return path

"""The files that start the service elsewhere name settings, commands and extras that exist."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from service.cli.main import COMMANDS
from service.settings import Settings, read_settings

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted((ROOT / "deploy").glob("*.Dockerfile"))


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_compose_has_redis_the_api_and_a_worker(compose: dict) -> None:
    assert set(compose["services"]) == {"redis", "api", "worker"}
    options = compose["services"]["redis"]["command"]
    assert options[options.index("--appendonly") + 1] == "yes"
    assert options[options.index("--maxmemory-policy") + 1] == "volatile-lru"


@pytest.mark.parametrize("name", ["api", "worker"])
def test_a_service_of_compose_starts_a_command_with_settings_that_exist(compose: dict, name: str) -> None:
    service = compose["services"][name]
    dockerfile = (ROOT / service["build"]["dockerfile"]).read_text()
    command = service.get("command") or json.loads(re.findall(r"^CMD (\[.*\])$", dockerfile, re.MULTILINE)[-1])

    settings = read_settings({key: str(value) for key, value in service["environment"].items()})

    assert command[0] in COMMANDS
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "redis://redis:6379/0"
    grace = int(service.get("stop_grace_period", "0s").removesuffix("s"))
    assert grace >= settings.grace_seconds + 10


def test_compose_publishes_on_loopback_alone(compose: dict) -> None:
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_a_dockerfile_takes_its_base_and_installs_extras_that_exist(file: Path) -> None:
    text = file.read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    assert text.splitlines()[1].startswith("ARG BASE_IMAGE=")
    assert set(re.findall(r"^ARG EXTRAS=(.+)$", text, re.MULTILINE)[0].split(",")) <= set(extras)
    known = {f"ERRATA_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"\b(ERRATA_[A-Z_]+)=", text)) <= known
    assert "USER 10001:10001" in text

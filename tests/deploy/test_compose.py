"""Images and docker-compose: settings, commands and extras exist, and what is installed is what the ranges allow."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from service.cli.main import COMMANDS
from service.settings import Settings, read_settings

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted((ROOT / "deploy").glob("*.Dockerfile"))


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_compose_has_redis_the_api_and_a_worker(compose: dict) -> None:
    usual = {name for name, service in compose["services"].items() if "profiles" not in service}
    assert usual == {"redis", "api", "worker"}
    monitoring = {name for name, service in compose["services"].items() if service.get("profiles") == ["monitoring"]}
    assert monitoring == {"prometheus", "grafana"}
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

    first = next(line for line in text.splitlines() if not line.startswith("#"))
    assert first == "ARG BASE_IMAGE=python:3.11-slim"
    assert text.count("FROM ${BASE_IMAGE}") == 2
    assert set(re.findall(r"^ARG EXTRAS=(.+)$", text, re.MULTILINE)[0].split(",")) <= set(extras)
    known = {f"ERRATA_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"\b(ERRATA_[A-Z_]+)=", text)) <= known
    assert "USER 10001:10001" in text
    assert "HEALTHCHECK" in text
    assert "--constraint deploy/constraints.txt" in text


def test_the_api_s_extras_bring_no_torch() -> None:
    """Nor do what they need: the images' build is what shows it, `make images`."""
    chosen = re.findall(r"^ARG EXTRAS=(.+)$", (ROOT / "deploy" / "api.Dockerfile").read_text(), re.MULTILINE)[0]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    needed = {Requirement(line).name for name in chosen.split(",") for line in extras[name]}

    assert needed
    assert not needed & {"torch", "torchvision", "timm", "errata-service", "foolbox"}


def test_what_is_mounted_is_there_and_nothing_of_a_container_can_be_written_but_volumes(compose: dict) -> None:
    for service in compose["services"].values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in compose["volumes"]


def test_what_the_images_install_is_what_the_ranges_allow_and_all_of_it_is_named() -> None:
    lines = [line for line in (ROOT / "deploy" / "constraints.txt").read_text().splitlines() if line[0] != "#"]
    versions = dict(line.split("==") for line in lines)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    images = "\n".join(file.read_text() for file in DOCKERFILES)
    chosen = {name for found in re.findall(r"^ARG EXTRAS=(.+)$", images, re.MULTILINE) for name in found.split(",")}
    wanted = [*project["dependencies"], *(line for name in chosen for line in project["optional-dependencies"][name])]
    requirements = [Requirement(line) for line in wanted]
    while nested := [each for each in requirements if each.name == "errata-service"]:
        requirements = [each for each in requirements if each.name != "errata-service"]
        names = {name for each in nested for name in each.extras}
        requirements += [Requirement(line) for name in names for line in project["optional-dependencies"][name]]

    assert len(requirements) > 30
    for each in requirements:
        assert versions[canonicalize_name(each.name)] in each.specifier, each

"""Images and docker-compose: settings, commands, and extras exist, and the constraints meet the version ranges."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from errata.cli.main import COMMANDS
from missing_tools import skip_or_fail
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from service.settings import Settings, read_settings

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted((ROOT / "deploy").glob("*.Dockerfile"))
COMPOSE = (ROOT / "docker-compose.yml").read_text()
IN_COMMENTS = re.compile(
    r"^( +)# ((?:ERRATA|OTEL)_\w+: .*|- \./.*)$", re.MULTILINE
)  # lines that an operator may uncomment


def load_compose(text: str = COMPOSE, **variables: str) -> dict[str, Any]:
    """Return docker-compose.yml with the default values of its variables."""

    def substitute(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return variables.get(match["name"]) or match["default"] or ""

    pattern = r"\$\$|\$\{(?P<name>\w+)(?::?-(?P<default>[^}]*))?\}"
    return yaml.safe_load(re.sub(pattern, substitute, text))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return load_compose()


@pytest.fixture(scope="module")
def full_compose() -> dict[str, Any]:
    """The file with tokens, TLS, registries, traces, and images uncommented."""
    return load_compose(IN_COMMENTS.sub(r"\1\2", COMPOSE), ERRATA_REGISTRIES="{}", ERRATA_WORKER_REGISTRIES="{}")


def test_compose_has_redis_the_api_and_a_worker(compose: dict[str, Any]) -> None:
    usual = {name for name, service in compose["services"].items() if "profiles" not in service}
    assert usual == {"redis", "api", "worker"}
    monitoring = {name for name, service in compose["services"].items() if service.get("profiles") == ["monitoring"]}
    assert monitoring == {"prometheus", "grafana"}


@pytest.mark.parametrize("name", ["api", "worker"])
def test_a_service_of_compose_starts_a_command_with_settings_that_exist(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    dockerfile = (ROOT / service["build"]["dockerfile"]).read_text()
    command = service.get("command") or json.loads(re.findall(r"^CMD (\[.*\])$", dockerfile, re.MULTILINE)[-1])

    settings = read_settings({key: str(value) for key, value in service["environment"].items()})

    assert command[0] in COMMANDS
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "redis://:errata@redis:6379/0"
    grace = int(service.get("stop_grace_period", "0s").removesuffix("s"))
    assert grace >= settings.grace_seconds + 10


def test_compose_publishes_ports_only_on_loopback(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_variables_select_the_published_ports() -> None:
    ports = {"ERRATA_GRPC_PORT": "1", "ERRATA_HTTP_PORT": "2", "PROMETHEUS_PORT": "3", "GRAFANA_PORT": "4"}
    services = load_compose(**ports)["services"]

    published = [port for name in ("api", "prometheus", "grafana") for port in services[name]["ports"]]
    assert published == ["127.0.0.1:1:50051", "127.0.0.1:2:8080", "127.0.0.1:3:9090", "127.0.0.1:4:3000"]


SECRETS = ["secrets/tokens", ".env", "ci.token", "deploy/.env", "tokens", "registries", "worker-registries", "tls.key"]


@pytest.mark.parametrize("name", [*SECRETS, "archive.tar"])
def test_secrets_are_neither_committed_nor_sent_to_a_build(name: str) -> None:
    done = subprocess.run(["git", "check-ignore", "--quiet", "--no-index", name], cwd=ROOT, check=False)
    patterns = [line.strip("/") for line in (ROOT / ".dockerignore").read_text().splitlines()]

    assert done.returncode == 0
    assert any(
        PurePosixPath(name).match(pattern.removeprefix("**/")) or name.partition("/")[0] == pattern
        for pattern in patterns
    )


def test_redis_has_a_password_and_is_reachable_only_by_the_api_and_workers() -> None:
    services = load_compose(REDIS_PASSWORD="0123abcd")["services"]

    assert services["redis"]["environment"]["REDISCLI_AUTH"] == "0123abcd"
    for name in ("api", "worker"):
        assert services[name]["environment"]["ERRATA_REDIS_URL"] == "redis://:0123abcd@redis:6379/0"
    assert load_compose()["services"]["redis"]["environment"][
        "REDISCLI_AUTH"
    ]  # Redis does not start with an empty password
    assert services["redis"]["networks"] == ["store"]
    assert load_compose()["networks"]["store"] == {"internal": True}
    assert {name for name, service in services.items() if "store" in service.get("networks", ())} == {
        "redis",
        "api",
        "worker",
    }
    assert "ports" not in services["redis"]


def test_redis_runs_as_its_own_user_without_capabilities(compose: dict[str, Any]) -> None:
    """As root, the entrypoint of the image would need a capability to read folders of other users."""
    redis = compose["services"]["redis"]
    assert redis["user"] == "999:1000"
    assert redis["cap_drop"] == ["ALL"]
    assert "cap_add" not in redis


def test_comments_contain_valid_settings_and_mounts(full_compose: dict[str, Any]) -> None:
    api, worker = full_compose["services"]["api"], full_compose["services"]["worker"]
    known = read_settings({**api["environment"], "ERRATA_ALLOW_INSECURE": "false"})
    models = read_settings(worker["environment"])

    folder = next(item.split(":")[1] for item in api["volumes"] if item.startswith("./"))
    files = {known.tokens, known.tls_certificate, known.tls_key}
    assert None not in files
    assert {file.parent for file in files if file} == {Path(folder)}
    (images,) = [item.split(":")[1] for item in worker["volumes"] if item.startswith("./")]
    assert [str(image) for image in models.images.values()] == [images]
    assert all(item.endswith(":ro") for item in [*api["volumes"], *worker["volumes"]] if item.startswith("./"))


def test_policies_have_the_same_path_as_in_kubernetes(full_compose: dict[str, Any]) -> None:
    """One value of ERRATA_REGISTRIES is valid for both."""
    manual = (ROOT / "deploy" / "kubernetes" / "README.md").read_text()
    mounts = [item.split(":")[1] for item in full_compose["services"]["api"]["volumes"] if item.startswith("./")]
    policies = re.findall(r'"policy": "([^"]+)"', manual)

    assert policies
    assert all(policy.startswith(f"{mount}/policies/") for policy in policies for mount in mounts)


@pytest.mark.parametrize("text", [COMPOSE, IN_COMMENTS.sub(r"\1\2", COMPOSE)], ids=["as it is", "full_compose"])
def test_docker_compose_accepts_the_file(text: str, tmp_path: Path) -> None:
    program = shutil.which("docker-compose")
    if program is None:
        skip_or_fail("docker-compose is not installed")
    file = tmp_path / "docker-compose.yml"
    file.write_text(text)
    variables = os.environ | {"ERRATA_REGISTRIES": "{}", "ERRATA_WORKER_REGISTRIES": "{}", "GRAFANA_PASSWORD": "0123"}

    done = subprocess.run(
        [program, "--file", str(file), "--profile", "monitoring", "config", "--format", "json"],
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )

    services = json.loads(done.stdout)["services"]
    assert services["redis"]["environment"]["REDISCLI_AUTH"] == "errata"
    assert services["grafana"]["environment"]["GRAFANA_PASSWORD"] == "0123"


def test_prometheus_scrapes_the_addresses_of_the_metrics(compose: dict[str, Any]) -> None:
    services = compose["services"]
    metrics = read_settings(services["api"]["environment"]).metrics_address
    port = metrics.rpartition(":")[2]
    scraped = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yaml").read_text())["scrape_configs"]
    (of_api,) = [item for item in scraped if item["job_name"] == "errata-api"]

    assert of_api["static_configs"] == [{"targets": [f"api:{port}"]}]
    assert not any(published.endswith(f":{port}") for published in services["api"]["ports"])
    for name in ("prometheus", "api", "worker"):
        assert "default" in services[name].get("networks", ["default"])


def test_grafana_has_a_random_password_by_default(compose: dict[str, Any]) -> None:
    grafana = compose["services"]["grafana"]
    shell, option, command = grafana["entrypoint"]
    assert command.endswith("exec /run.sh\n")
    command = command.replace("exec /run.sh", 'printf %s "$GF_SECURITY_ADMIN_PASSWORD"')

    def password(value: str) -> str:
        environment = {"PATH": os.environ["PATH"], "GRAFANA_PASSWORD": value}
        return subprocess.run(
            [shell, option, command], env=environment, capture_output=True, text=True, check=True
        ).stdout

    assert password("0123") == "0123"
    first, second = password(""), password("")
    assert first != second
    assert len(first) == len(second) == 32
    assert grafana["environment"]["GF_USERS_ALLOW_SIGN_UP"] == "false"
    assert grafana["environment"]["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"


def test_a_variable_selects_another_build_than_for_cpus() -> None:
    build = load_compose(PIP_ARGS="--extra-index-url=https://wheels.example")["services"]["worker"]["build"]
    dockerfile = (ROOT / build["dockerfile"]).read_text()

    assert build["args"] == {"PIP_ARGS": "--extra-index-url=https://wheels.example"}
    args = load_compose()["services"]["worker"]["build"]["args"]
    assert args["PIP_ARGS"] == "--extra-index-url=https://download.pytorch.org/whl/cpu"
    assert all(f"ARG {name}=" in dockerfile for name in build["args"])


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_a_dockerfile_accepts_a_base_image_and_installs_existing_extras(file: Path) -> None:
    text = file.read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    first = next(line for line in text.splitlines() if not line.startswith("#"))
    assert first == "ARG BASE_IMAGE=python:3.11-slim"
    assert text.count("FROM ${BASE_IMAGE}") == 2
    assert set(re.findall(r"^ARG EXTRAS=(.+)$", text, re.MULTILINE)[0].split(",")) <= set(extras)
    known = {f"ERRATA_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"\b(ERRATA_[A-Z_]+)=", text)) <= known
    assert "USER 10001:10001" in text
    (interval,) = re.findall(r"^HEALTHCHECK --interval=(\d+)s", text, re.MULTILINE)
    assert int(interval) >= 30  # each check starts a Python interpreter
    (check,) = re.findall(r"^  CMD (\[.*\])$", text, re.MULTILINE)
    assert json.loads(check)[-2:] == ["/opt/package/service/probe.py", _address_variable(file)]


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_a_code_change_replaces_only_the_layer_of_the_package(file: Path) -> None:
    """The stage of dependencies copies only the files that it needs, and no code."""
    _, dependencies, package, final = re.sub(r"\\\n", "", file.read_text()).split("\nFROM ")
    copied = [words for line in dependencies.splitlines() if line.startswith("COPY") for words in line.split()[1:-1]]

    assert set(copied) == {
        "pyproject.toml",
        "client/pyproject.toml",
        "deploy/constraints.txt",
        "deploy/requirements.py",
        "deploy/trim.py",
    }
    assert "/opt/errata" in dependencies
    assert "/opt/package ./client ." in package
    sources = re.findall(r"^COPY --from=(\S+ \S+) \S+$", final, re.MULTILINE)
    assert sources == ["dependencies /opt/errata", "package /opt/shipped", "package /opt/package"]
    assert final.index("--from=package") < final.index("ARG VERSION")


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_an_image_installs_only_packages_with_known_hashes(file: Path) -> None:
    """Except for the package itself, and for torch of another index, whose builds have other hashes."""
    text = re.sub(r"\\\n", "", file.read_text())
    installs = [re.split(r" && |; ", part, maxsplit=1)[0] for part in re.split(r"-m pip\b[^;&]*? install", text)[1:]]

    unchecked = [options for options in installs if "--require-hashes" not in options]
    package = " --no-build-isolation --no-deps --target /opt/package ./client ."
    torch = " ${PIP_ARGS} --constraint versions.txt torch torchvision"
    assert [options.split("\n")[0] for options in unchecked] == ([torch] if "worker" in file.name else []) + [package]
    assert len(installs) - len(unchecked) == 2  # the dependencies, and the build requirements


def _select(*arguments: str) -> list[str]:
    """Return the packages that deploy/requirements.py prints."""
    script = ROOT / "deploy" / "requirements.py"
    done = subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, check=True)
    return re.findall(r"^([a-z0-9.-]+)==", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("extras", ["", "hub", "hub,object-store", "demo,onnx"])
def test_the_packages_of_an_image_are_the_dependencies_of_its_extras(extras: str) -> None:
    names = _transitive_names(_requirements(extras.split(",") if extras else []))
    selected = set(_select(extras))

    assert {name for name in names if name in _constraints()} <= selected
    assert ("torch" in selected) == ("demo" in extras)
    assert ("aiobotocore" in selected) == ("object-store" in extras)
    assert "hatchling" not in selected


def test_torch_of_another_index_replaces_torch_and_its_libraries() -> None:
    """The other builds have other hashes, and those for CPUs need no library of CUDA."""
    removed = set(_select("demo,onnx")) - set(_select("demo,onnx", "--without-torch"))

    assert {"torch", "torchvision", "triton", "nvidia-cublas", "cuda-toolkit"} <= removed
    assert all(re.match(r"torch|triton|nvidia-|cuda-", name) for name in removed)


def test_an_extra_that_is_not_locked_is_refused() -> None:
    script = ROOT / "deploy" / "requirements.py"
    done = subprocess.run([sys.executable, str(script), "hub,docs"], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "not in deploy/constraints.txt: docs. Run `make constraints`." in done.stderr


def test_each_locked_package_has_hashes_and_versions_are_constraints() -> None:
    text = (ROOT / "deploy" / "constraints.txt").read_text()
    entries = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[2:]

    assert len(entries) == len(_constraints()) > 100
    for entry in entries:
        assert re.fullmatch(r"\S+==\S+ \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+    # [a-z, -]+\n", entry), entry
    script = ROOT / "deploy" / "requirements.py"
    versions = subprocess.run([sys.executable, str(script), "--versions"], capture_output=True, text=True, check=True)
    assert dict(line.split("==") for line in versions.stdout.splitlines()) == _constraints()


def test_the_extras_of_the_api_do_not_include_torch() -> None:
    """Checks direct dependencies; `make images` checks the installed packages."""
    api_extras = re.findall(r"^ARG EXTRAS=(.+)$", (ROOT / "deploy" / "api.Dockerfile").read_text(), re.MULTILINE)[0]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    needed = {Requirement(line).name for name in api_extras.split(",") for line in extras[name]}

    assert needed
    assert not needed & {"torch", "torchvision", "timm", "errata-service", "foolbox"}


def test_mounts_exist_and_containers_are_read_only(
    compose: dict[str, Any],
) -> None:
    for service in compose["services"].values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert "cap_add" not in service
        assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in compose["volumes"]


def _address_variable(file: Path) -> str:
    return {"api.Dockerfile": "ERRATA_HTTP_ADDRESS", "worker.Dockerfile": "ERRATA_WORKER_HTTP_ADDRESS"}[file.name]


def _requirements(extras: list[str]) -> list[Requirement]:
    """Return the dependencies of errata-service with extras and of errata-client, without these two packages."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    client = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *client["dependencies"]]
    lines += [line for name in extras for line in project["optional-dependencies"][name]]
    requirements = [Requirement(line) for line in lines]
    while nested := [requirement for requirement in requirements if requirement.name == "errata-service"]:
        requirements = [requirement for requirement in requirements if requirement.name != "errata-service"]
        names = {name for requirement in nested for name in requirement.extras}
        requirements += [Requirement(line) for name in names for line in project["optional-dependencies"][name]]
    return [requirement for requirement in requirements if requirement.name != "errata-client"]


def _constraints() -> dict[str, str]:
    """Return package -> version."""
    return dict(re.findall(r"^(\S+)==(\S+)", (ROOT / "deploy" / "constraints.txt").read_text(), re.MULTILINE))


def _transitive_names(requirements: list[Requirement]) -> set[str]:
    """Return the names of direct and indirect dependencies.

    The metadata are those of installed packages that have the locked version: another version needs other packages.
    """
    locked = _constraints()
    names: set[str] = set()
    visited: set[tuple[str, str]] = set()
    pending = [(requirement, extra) for requirement in requirements for extra in ("", *requirement.extras)]
    while pending:
        requirement, extra = pending.pop()
        name = canonicalize_name(requirement.name)
        if (name, extra) in visited:
            continue
        visited.add((name, extra))
        names.add(name)
        try:
            if version(name).partition("+")[0] != locked.get(name):
                continue
        except PackageNotFoundError:  # a package of torch's build for CUDA, or of the build
            continue
        for dependency in map(Requirement, requires(name) or []):
            if dependency.marker is None or dependency.marker.evaluate({"extra": extra}):
                pending += [(dependency, name) for name in ("", *dependency.extras)]
    return names


def test_the_constraints_meet_the_ranges_and_are_complete() -> None:
    versions = _constraints()
    images = "\n".join(file.read_text() for file in DOCKERFILES)
    extras = {name for names in re.findall(r"^ARG EXTRAS=(.+)$", images, re.MULTILINE) for name in names.split(",")}
    build = [
        line
        for folder in (ROOT, ROOT / "client")
        for line in tomllib.loads((folder / "pyproject.toml").read_text())["build-system"]["requires"]
    ]
    requirements = [*_requirements(sorted(extras)), *map(Requirement, build)]

    for requirement in requirements:
        assert versions[canonicalize_name(requirement.name)] in requirement.specifier, requirement
    names = _transitive_names(requirements)
    assert names | {"redis", "anyio", "h11", "sympy", "mpmath"} <= versions.keys()  # includes indirect dependencies
    assert {"hatchling", "grpcio-tools", "pathspec", "pluggy"} <= versions.keys()  # needed only for builds
    assert not {"errata-client", "errata-service"} & versions.keys()  # installed from the checkout


def test_the_constraints_include_the_cuda_libraries_of_torch() -> None:
    versions = _constraints()
    assert {"triton", "nvidia-cudnn-cu13", "nvidia-nccl-cu13", "nvidia-cublas"} <= versions.keys()
    assert "+" not in "".join(versions.values())  # valid for builds for CUDA and for CPUs

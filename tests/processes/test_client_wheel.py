"""The wheel of errata-client in a fresh virtual environment, without errata-service. Needs a package registry."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from errata.cli.folder import write_folder
from running_service import Running

from .conftest import environment

ROOT = Path(__file__).resolve().parents[2]
MAX_MEGABYTES = 45
pytestmark = pytest.mark.slow

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with only the wheel of the client and its dependencies."""
    folder = tmp_path_factory.mktemp("client")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT / "client")], check=True)
    (wheel,) = folder.glob("errata_client-*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    python = str(folder / "venv" / "bin" / "python")
    subprocess.run([*pip, "--python", python, "install", str(wheel)], check=True)
    return folder / "venv"


@pytest.fixture
def errata(venv: Path, tmp_path: Path) -> Run:
    inherited = environment(tmp_path)
    del inherited["ERRATA_DATA_DIR"]
    inherited.pop("PYTHONPATH", None)

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [str(venv / "bin" / "errata"), *arguments]
        return subprocess.run(command, env=inherited, capture_output=True, text=True, timeout=60, check=False)

    return run


def test_the_environment_is_small_and_has_no_service(venv: Path) -> None:
    size = sum(path.lstat().st_blocks * 512 for path in venv.rglob("*")) / (1 << 20)
    packages = {path.name for path in venv.glob("lib/python3*/site-packages/*")}

    assert size <= MAX_MEGABYTES
    assert not packages & {"service", "numpy", "pyarrow", "pydantic", "jinja2", "redis", "starlette"}


def test_help_lists_all_commands(errata: Run) -> None:
    done = errata("--help")

    assert done.returncode == 0
    assert {"analyze", "list", "serve", "demo"} <= {
        line.split()[0] for line in done.stdout.splitlines() if line.strip()
    }
    assert "run the service" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "feature"),
    [
        (["serve"], "errata serve"),
        (["serve", "--help"], "errata serve"),
        (["work"], "errata work"),
        (["demo"], "errata demo"),
        (["evidence", "show", "x"], "errata evidence"),
        (["taxonomy", "pairs"], "errata taxonomy"),
        (["list", "--local"], "--local"),
        (["gate", "--schema"], "errata gate --schema"),
    ],
)
def test_parts_of_the_service_name_the_package_to_install(errata: Run, arguments: list[str], feature: str) -> None:
    done = errata(*arguments)

    assert done.returncode == 2
    assert done.stdout == ""
    remedy = "Install it from a checkout (pip install ./client .), or from your package index."
    assert done.stderr == f"errata: '{feature}' needs errata-service. {remedy}\n"


def test_commands_use_a_service(errata: Run, service: Running, demo_csv: bytes, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(demo_csv)
    server = ("--server", service.addresses.grpc)

    analyzed = errata("analyze", "--predictions", str(tmp_path / "p.csv"), "--dataset", "demo", "--json", *server)
    listed = errata("list", "--json", *server)
    report = errata("report", "p.csv", "--output", str(tmp_path), *server)

    name = json.loads(analyzed.stdout)["name"]
    assert [analysis["name"] for analysis in json.loads(listed.stdout)["analyses"]] == [name]
    assert report.returncode == 0
    assert (tmp_path / "report.html").is_file()


def test_folders_are_shown_and_other_uses_name_the_package(
    errata: Run, service: Running, demo_csv: bytes, tmp_path: Path
) -> None:
    analysis = service.client.upload(io.BytesIO(demo_csv), "demo", display_name="folder")
    (tmp_path / "a").mkdir()
    write_folder(service.client, analysis, tmp_path / "a")
    policy = "version: 1\nname: p\nbounds: [{measure: count, types: MODEL_FAILURE, max: 1}]\n"
    (tmp_path / "policy.yaml").write_text(policy)
    folder = str(tmp_path / "a")

    assert errata("show", folder).returncode == 0
    assert errata("show", folder, "--errors").returncode == 0
    assert errata("explain", "imagenet_00_243.jpg", "--analysis", folder).returncode == 0
    assert errata("report", folder, "--output", str(tmp_path)).returncode == 0
    for command in (
        ["compare", folder, folder],
        ["trend", folder],
        ["gate", folder, "--policy", str(tmp_path / "policy.yaml")],
    ):
        done = errata(*command)
        assert done.returncode == 2
        assert f"'errata {command[0]}' on folders needs errata-service. Install it from a checkout" in done.stderr

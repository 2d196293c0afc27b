"""The sdists and wheels, which the commands of the release workflow build without a package index."""

import email
import re
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from missing_tools import require_package

from .release_workflow import ROOT, TRACKED, VERSION, run, step

PACKAGES = {"errata_service": "service", "errata_client": "client/errata"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdists and wheels that the workflow builds from the tracked files."""
    require_package("build")
    require_package("hatchling")
    folder = tmp_path_factory.mktemp("checkout")
    for name in TRACKED:
        if name.startswith(("client/", "protos/", "service/")) or "/" not in name:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
    command = step("distributions", "Build the packages")["run"]
    done = run(command.replace("-m build ", "-m build --no-isolation "), folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "dist"


def wheel(built: Path, package: str) -> zipfile.ZipFile:
    return zipfile.ZipFile(built / f"{package}-{VERSION}-py3-none-any.whl")


def sdist_names(built: Path, package: str) -> set[str]:
    with tarfile.open(built / f"{package}-{VERSION}.tar.gz") as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


@pytest.mark.slow
def test_the_workflow_builds_an_sdist_and_a_wheel_of_each_package(built: Path) -> None:
    assert {item.name for item in built.iterdir()} == {
        f"{package}-{VERSION}{suffix}" for package in PACKAGES for suffix in (".tar.gz", "-py3-none-any.whl")
    }


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_a_wheel_contains_exactly_its_package(built: Path, package: str) -> None:
    folder = PACKAGES[package]
    expected = {name.removeprefix("client/") for name in TRACKED if name.startswith(f"{folder}/")}
    expected |= {
        f"errata/v1/{Path(proto).stem}_pb2{suffix}"
        for proto in TRACKED
        if proto.startswith("protos/errata/v1/") and package == "errata_client"
        for suffix in (".py", ".pyi", "_grpc.py")
        if suffix != "_grpc.py" or "\nservice " in (ROOT / proto).read_text()
    }

    expected |= {"errata/v1/__init__.py"} if package == "errata_client" else set()

    assert {name for name in wheel(built, package).namelist() if ".dist-info/" not in name} == expected


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_the_metadata_is_complete(built: Path, package: str) -> None:
    (name,) = [item for item in wheel(built, package).namelist() if item.endswith(".dist-info/METADATA")]
    metadata = email.message_from_bytes(wheel(built, package).read(name))

    assert metadata["Name"] == package.replace("_", "-")
    assert metadata["Version"] == VERSION
    assert metadata["Summary"].endswith(".")
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["License-File"] == "LICENSE"
    assert [{"name": metadata["Author"]}] == yaml.safe_load((ROOT / "CITATION.cff").read_text())["authors"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload().startswith("# ")
    assert len(metadata.get_all("Classifier", [])) >= 5


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_an_sdist_has_the_changelog_the_license_and_what_its_build_reads(built: Path, package: str) -> None:
    names = sdist_names(built, package)

    assert {"CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml", "PKG-INFO"} <= names
    if package == "errata_client":
        assert {name for name in TRACKED if name.startswith("protos/errata/v1/")} <= names
    assert not [name for name in names if re.search(r"(^|/)(tests|__pycache__|secrets|\.env)(/|$)", name)]


@pytest.mark.slow
def test_the_wheels_provide_the_command(built: Path, tmp_path: Path) -> None:
    for package in PACKAGES:
        wheel(built, package).extractall(tmp_path)
    command = 'import sys; from errata.cli.main import errata; errata(["--version"])'

    done = run(f"python -c '{command}'", tmp_path, PYTHONPATH=str(tmp_path))

    assert done.stdout.strip() == f"errata, version {VERSION}", done.stderr

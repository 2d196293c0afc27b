"""The built images: sizes, layers, users, labels, and contents."""

import json
import re
from pathlib import Path

import pytest

from .conftest import API, WORKER
from .sbom import make_sbom
from .stack import ROOT, docker

MB = 1e6
CONSTRAINTS = dict(re.findall(r"^(\S+)==(\S+)", (ROOT / "deploy" / "constraints.txt").read_text(), re.MULTILINE))
MAX_ADDED = {API: 430 * MB, WORKER: 1400 * MB}  # to the base image, the worker for CPUs
MAX_CODE = 10 * MB  # what a change of the code replaces


def layers(image: str) -> dict[str, float]:
    """Return the size of each layer in bytes by the instruction that made it, without those of the base image."""
    history = docker("history", "--human=false", "--no-trunc", "--format", "{{.Size}}\t{{.CreatedBy}}", image)
    base = docker("history", "--quiet", "--no-trunc", "python:3.11-slim").splitlines()
    rows = [line.split("\t", 1) for line in history.splitlines()][: -len(base)]
    return {instruction: float(size) for size, instruction in rows}


@pytest.mark.parametrize("image", [API, WORKER])
def test_an_image_adds_little_to_its_base(images: dict[str, float], image: str) -> None:
    sizes = layers(image)
    (code,) = [size for instruction, size in sizes.items() if instruction.startswith("COPY /opt/package")]
    added = sum(sizes.values())

    print(f"{image}: adds {added / MB:.0f} MB, {code / MB:.1f} MB of code, built in {images[image]:.0f} s")
    assert added <= MAX_ADDED[image]
    assert 0 < code <= MAX_CODE


@pytest.mark.parametrize("image", [API, WORKER])
def test_an_image_has_a_user_and_labels(images: dict[str, float], image: str) -> None:
    config = json.loads(docker("inspect", "--format", "{{json .Config}}", image))

    assert config["User"] == "10001:10001"
    prefix = "org.opencontainers.image."
    assert {"source", "created", "revision", "base.digest", "base.name", "version"} <= {
        name.removeprefix(prefix) for name in config["Labels"]
    }


@pytest.mark.parametrize("image", [API, WORKER])
def test_an_image_contains_neither_secrets_nor_pip(images: dict[str, float], image: str) -> None:
    listing = docker("run", "--rm", "--entrypoint=sh", image, "-c", "find /opt -name tokens -o -name .env -o -name pip")

    assert listing == ""
    torch = docker(
        "run", "--rm", "--entrypoint=sh", image, "-c", "ls -d /opt/errata/lib/python*/site-packages/torch || true"
    )
    assert bool(torch) == (image == WORKER)


@pytest.mark.parametrize("image", [API, WORKER])
def test_an_sbom_has_the_locked_versions(images: dict[str, float], image: str, tmp_path: Path) -> None:
    (ROOT / "build").mkdir(exist_ok=True)
    sbom = make_sbom(image, tmp_path / "environment", ROOT / "build" / f"{image}.cdx.json")
    versions = {item["name"].lower().replace("_", "-"): item["version"] for item in sbom["components"]}
    own = {name: versions.pop(name) for name in ("errata-client", "errata-service")}

    assert sbom["bomFormat"] == "CycloneDX"
    assert len(set(own.values())) == 1
    assert {"grpcio", "numpy", "pyarrow"} <= versions.keys()
    assert ("torch" in versions) == (image == WORKER)
    assert {name: version.partition("+")[0] for name, version in versions.items()} == {
        name: CONSTRAINTS[name] for name in versions
    }
    print(f"{image}: {len(versions)} packages in its SBOM")


def test_the_table_of_sizes_in_the_manual_is_that_of_the_images(images: dict[str, float]) -> None:
    manual = (ROOT / "deploy" / "README.md").read_text()
    for name, image in (("errata-api", API), ("errata-worker`, CPU", WORKER)):
        (size,) = re.findall(rf"^\| `{name}`?[^|]*\|[^|]*\| ([\d.]+) (?:MB|GB)", manual, re.MULTILINE)
        stated = float(size) * (1000 if float(size) < 10 else 1)
        assert sum(layers(image).values()) / MB == pytest.approx(stated, rel=0.05)

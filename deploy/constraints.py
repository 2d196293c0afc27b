"""Write the versions that the images install: what pip resolves the project's ranges to, now. `make constraints`.

For Python 3.11 on Linux, x86-64. Torch is PyPI's, so that what it needs for CUDA is named too; a build for CPUs takes
none of that and is held to the rest. Torch and torchvision are the releases that are installed here: the tests ran with
them. What builds the package (pyproject's [build-system]) is resolved together with it: the images build with that.
pip downloads all of it to look into it, 3 GB, and keeps none.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = "demo,hub,mlflow,object-store,onnx"  # of both images
TESTED = ("torch", "torchvision")
HEAD = "# What the images install. Made by `make constraints` from the ranges of pyproject.toml; never edited.\n"


def resolved(extras: str) -> dict[str, str]:
    """Return name → version of all that the project with these extras needs; nothing is installed.

    A machine's own constraints and folders of wheels are left aside (an empty variable would not do), its index is not.
    """
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    held = [f"{name}=={version(name).partition('+')[0]}" for name in TESTED]
    with tempfile.TemporaryDirectory() as folder:
        report, nothing, no_wheels = (Path(folder) / name for name in ("report.json", "constraints.txt", "wheels"))
        nothing.touch()
        no_wheels.mkdir()
        environment = os.environ | {"PIP_CONSTRAINT": str(nothing), "PIP_FIND_LINKS": str(no_wheels)}
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += ["--report", str(report), f"{ROOT}[{extras}]", *held, *build]
        subprocess.run(command, check=True, cwd=ROOT, env=environment)
        result = json.loads(report.read_text())["install"]
    packages = {item["metadata"]["name"].lower().replace("_", "-"): item["metadata"]["version"] for item in result}
    packages.pop("errata-service")
    return {name: each.partition("+")[0] for name, each in packages.items()}  # the same release, however built


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    lines = [f"{name}=={each}\n" for name, each in sorted(resolved(EXTRAS).items())]
    arguments.output.write_text(HEAD + "".join(lines))

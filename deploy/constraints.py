"""Write the versions that the images install: what pip resolves the project's ranges to, now. `make constraints`."""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = "demo,hub,mlflow,object-store,onnx"  # of both images
HEAD = "# What the images install. Made by `make constraints` from the ranges of pyproject.toml; never edited.\n"


def resolved(extras: str) -> dict[str, str]:
    """Return name → version of all that the project with these extras needs; nothing is installed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        subprocess.run([*command, "--report", str(report), f"{ROOT}[{extras}]"], check=True, cwd=ROOT)
        found = json.loads(report.read_text())["install"]
    packages = {each["metadata"]["name"].lower().replace("_", "-"): each["metadata"]["version"] for each in found}
    packages.pop("errata-service")
    return {name: version.partition("+")[0] for name, version in packages.items()}  # the same release, however built


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    lines = [f"{name}=={version}\n" for name, version in sorted(resolved(EXTRAS).items())]
    arguments.output.write_text(HEAD + "".join(lines))

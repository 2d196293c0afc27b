#!/usr/bin/env python3
"""Check that all files have the same version: `python tests/scripts/check_versions.py [TAG]`.

With the tag of a release, the tag must be `v` and this version, and CHANGELOG.md must have a section for it. The
release workflow runs this script before it installs anything: it needs the standard library only.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACES = {
    "*.Dockerfile": r"^ARG VERSION=(\S+)",
    "*/kustomization.yaml": r"^\s+newTag: ([\d.]+\w*)(?:-cuda)?$",
    "*/Chart.yaml": r"^(?:version|appVersion): \"?([^\"\s]+)",
    "CITATION.cff": r"^version: (\S+)",
    "*.yaml": r"errata-(?:api|worker):(\d[\w.]*)",
    "*.md": r"errata-(?:api|worker):(\d[\w.]*)",
}


def find_versions(root: Path, files: list[str]) -> Iterator[tuple[str, str]]:
    """Yield `FILE:LINE` and version for each version of Errata in deployment files and documentation."""
    for file in files:
        for pattern, expression in PLACES.items():
            if Path(file).match(pattern):
                text = (root / file).read_text(encoding="utf-8")
                for match in re.finditer(expression, text, re.MULTILINE):
                    yield f"{file}:{text.count(chr(10), 0, match.start(1)) + 1}", match[1]


def find_problems(root: Path, files: list[str], tag: str | None = None) -> Iterator[str]:
    """Yield a message for each place with another version than pyproject.toml."""
    service = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    client = tomllib.loads((root / "client" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = service["version"]
    major, minor, *_ = version.split(".")
    requirement = f"errata-client>={major}.{minor},<{major}.{int(minor) + 1}"
    if requirement not in service["dependencies"]:
        yield f"pyproject.toml: Expected the dependency '{requirement}'"
    for place, other in [("client/pyproject.toml", client["version"]), *find_versions(root, files)]:
        if other != version:
            yield f"{place}: Expected version {version}, got {other}"
    if tag is not None:
        if tag != f"v{version}":
            yield f"Expected the tag v{version}, got {tag}"
        if f"\n## {version}" not in (root / "CHANGELOG.md").read_text(encoding="utf-8"):
            yield f"CHANGELOG.md: Expected a section '## {version}'"


def main() -> int:
    """Print the problems; return 1 if there are any."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    messages = list(find_problems(ROOT, listed.splitlines(), *sys.argv[1:2]))
    for message in messages:
        print(message)
    return 1 if messages else 0


if __name__ == "__main__":
    sys.exit(main())

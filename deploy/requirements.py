"""Print the packages of an image from deploy/constraints.txt, with hashes: requirements for pip's --require-hashes.

Usage: python3 deploy/requirements.py EXTRA,EXTRA [--without-torch] > requirements.txt
       python3 deploy/requirements.py --build > requirements.txt
       python3 deploy/requirements.py --versions > versions.txt

The images install dependencies in a separate layer, so that a code change does not install them again. Builds of torch
on other indexes than PyPI have other hashes: `--without-torch` leaves out torch, torchvision, and CUDA's libraries, and
`--versions` prints the versions of all packages without hashes, as constraints.
"""

import argparse
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCAL = re.compile(r"errata-(?:service|client)(?:\[(?P<extras>[\w,-]+)\])?(?=$|[\s<>=!~;])")
DEVELOPMENT = {"clip", "dev", "docs", "taxonomy", "tutorial"}  # extras that no image installs
ALL, BUILD = "all", "build"  # in comments: needed without extras, and by builds
ENTRY = re.compile(r"^(?P<name>[a-z0-9.-]+)==(?P<version>\S+).*?^    # (?P<groups>.+?)\n", re.MULTILINE | re.DOTALL)
TORCH = re.compile(r"torch|torchvision|triton|cuda-.+|nvidia-.+")


def projects() -> list[dict]:
    """Return the [project] tables of the service and the client."""
    files = (ROOT / "pyproject.toml", ROOT / "client" / "pyproject.toml")
    return [tomllib.loads(path.read_text(encoding="utf-8"))["project"] for path in files]


def resolve_requirements(projects: list[dict], extras: list[str]) -> list[str]:
    """Return the dependencies of projects, with local packages replaced by their own dependencies.

    Args:
        projects: The [project] tables; the first one has the extras.
        extras: Extras of the first project.
    """
    optional = projects[0]["optional-dependencies"]
    dependencies = {line for project in projects for line in project["dependencies"]}
    pending, visited = list(extras), set()
    while pending:
        extra = pending.pop()
        if extra in visited:
            continue
        visited.add(extra)
        for line in optional[extra]:
            match = LOCAL.match(line)
            if match and match["extras"]:
                pending += match["extras"].split(",")
            dependencies.add(line)
    return sorted(line for line in dependencies if not LOCAL.match(line))


def select_packages(locked: str, groups: set[str]) -> dict[str, str]:
    """Return name -> entry of the packages of groups; raise SystemExit if a group is not locked."""
    entries = {match["name"]: (match[0], set(match["groups"].split(", "))) for match in ENTRY.finditer(locked)}
    known = set().union(*(names for _, names in entries.values()))
    if unknown := groups - known:
        raise SystemExit(f"not in deploy/constraints.txt: {', '.join(sorted(unknown))}. Run `make constraints`.")
    return {name: entry for name, (entry, names) in entries.items() if names & groups}


def parse_groups(text: str) -> set[str]:
    """Return the groups of packages that a list of extras needs; raise SystemExit if an extra is unknown."""
    known = projects()[0]["optional-dependencies"].keys()
    extras = {extra for extra in text.split(",") if extra}
    if unknown := sorted(extras - known):
        expected = ", ".join(sorted(known - DEVELOPMENT))
        raise SystemExit(
            f"Unknown extra {unknown[0]!r}. Expected names, with commas and no spaces between: {expected}."
        )
    return extras | {ALL}


def main(arguments: list[str]) -> str:
    """Return what the arguments ask for."""
    parser = argparse.ArgumentParser(usage=__doc__.partition("Usage: ")[2].partition("\n\n")[0], allow_abbrev=False)
    parser.add_argument("extras", nargs="?")
    parser.add_argument("--build", action="store_true")
    parser.add_argument("--without-torch", action="store_true")
    parser.add_argument("--versions", action="store_true")
    options = parser.parse_args(arguments)
    locked = (ROOT / "deploy" / "constraints.txt").read_text(encoding="utf-8")
    if options.versions:
        return "".join(f"{match['name']}=={match['version']}\n" for match in ENTRY.finditer(locked))
    if options.build == (options.extras is not None):
        parser.error("expected a list of extras, which may be empty (''), --build, or --versions")
    packages = select_packages(locked, {BUILD} if options.build else parse_groups(options.extras))
    return "".join(entry for name, entry in packages.items() if not (options.without_torch and TORCH.fullmatch(name)))


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1:]))

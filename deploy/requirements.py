"""Print the dependencies of errata-service with extras and of errata-client, without these two packages.

Usage: python3 deploy/requirements.py EXTRA,EXTRA > requirements.txt

The images install these requirements in a separate layer, so that a code change does not install them again.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECTS = (ROOT / "pyproject.toml", ROOT / "client" / "pyproject.toml")
LOCAL = re.compile(r"errata-(?:service|client)(?:\[(?P<extras>[\w,-]+)\])?(?=$|[\s<>=!~;])")


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


if __name__ == "__main__":
    tables = [tomllib.loads(path.read_text(encoding="utf-8"))["project"] for path in PROJECTS]
    extras = [part for part in "".join(sys.argv[1:2]).split(",") if part]
    sys.stdout.write("".join(f"{line}\n" for line in resolve_requirements(tables, extras)))

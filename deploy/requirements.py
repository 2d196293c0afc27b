"""Print what the project with these extras needs, a line a requirement, without the project itself.

python3 deploy/requirements.py EXTRA,EXTRA > requirements.txt

The images install this first, so that a change of the code alone doesn't install it again.
"""

import re
import sys
import tomllib
from pathlib import Path

ITSELF = re.compile(r"errata-service\[([\w,-]+)\]")


def needed(project: dict, extras: list[str]) -> list[str]:
    """Return the requirements of a [project] table and of its extras; an extra may name others of its own."""
    result, todo, seen = list(project["dependencies"]), list(extras), set()
    while todo:
        extra = todo.pop()
        if extra in seen:
            continue
        seen.add(extra)
        for line in project["optional-dependencies"][extra]:
            if own := ITSELF.fullmatch(line):
                todo += own[1].split(",")
            else:
                result.append(line)
    return sorted(set(result))


if __name__ == "__main__":
    text = (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    extras = [part for part in "".join(sys.argv[1:2]).split(",") if part]
    sys.stdout.write("".join(f"{line}\n" for line in needed(tomllib.loads(text)["project"], extras)))

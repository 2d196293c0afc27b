"""errata taxonomy check: custom superclasses that are probably mistakes have exit code 2, and a reason."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from errata.errors import InvalidEvidence

from service.cli.taxonomy import taxonomy


def check(tmp_path: Path, *lines: object) -> str:
    file = tmp_path / "superclasses.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return CliRunner().invoke(taxonomy, ["check", str(file)], catch_exceptions=False).output


SHARKS = {"sharks": [["shark"]]}


def test_superclasses_with_known_lemmas_are_valid(tmp_path: Path) -> None:
    assert "superclasses with two or more classes          1           161" in check(tmp_path, SHARKS)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([], "no superclass with two classes"),
        ([{"tench": [["tench"]]}], "no superclass with two classes"),
        ([SHARKS, {"unicorns": [["unicorn"]]}], "unknown lemmas or empty superclasses"),
    ],
)
def test_probable_mistakes_are_reported(tmp_path: Path, lines: list[object], problem: str) -> None:
    with pytest.raises(InvalidEvidence, match=problem):
        check(tmp_path, *lines)

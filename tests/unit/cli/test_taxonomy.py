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


def test_of_many_classes_without_a_superclass_the_first_20_are_listed(tmp_path: Path) -> None:
    (line,) = (line for line in check(tmp_path, SHARKS).splitlines() if "without a superclass: " in line)
    total, names = line.split(" classes without a superclass: ")

    assert names.startswith("tench, goldfish, ") and names.endswith(f", and {int(total) - 20} more")
    assert len(names.split(", ")) == 21


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.csv", None, "missing.csv: No such file or directory. Check the path."),
        ("own.csv", "class,superclasses\none,digits\n", "Pass it as --superclasses, together with --classes"),
    ],
)
def test_a_file_that_cannot_be_checked_has_a_remedy(
    tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)

    result = CliRunner().invoke(taxonomy, ["check", str(tmp_path / name)])

    assert isinstance(result.exception, InvalidEvidence)
    assert message in result.exception.message

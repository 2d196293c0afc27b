"""`make check` fails if an edit of the protos breaks clients of the last release."""

import runpy
import shutil
from pathlib import Path

import pytest

from docs_site.protos import PROTOS

check = runpy.run_path(str(PROTOS.parent / "tests" / "scripts" / "check_protos.py"))["check"]


@pytest.fixture
def protos(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PROTOS, tmp_path / "protos"))


def edit(protos: Path, name: str, before: str, after: str) -> None:
    file = protos / "errata" / "v1" / f"{name}.proto"
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))


def test_the_protos_have_no_problem() -> None:
    assert check() == []


@pytest.mark.parametrize(
    ("name", "before", "after", "problem"),
    [
        ("analysis", "string display_name = 3 [", "string display_name = 30 [", 'field "3" with name "display_name"'),
        ("analysis", "string display_name = 3 [", "string title = 3 [", 'changed name from "display_name" to "title"'),
        ("analysis", "bool cached = 19", "string cached = 19", "changed type"),
        ("analysis", "    STATE_CANCELLED = 5;", "    STATE_ENDED = 5;", 'from "STATE_CANCELLED" to "STATE_ENDED"'),
        ("analysis_service", "rpc RetryAnalysis(", "rpc RestartAnalysis(", 'RPC "RetryAnalysis"'),
        ("analysis_service", "  // The grouping.\n", "", "COMMENT_FIELD|non-empty comment"),
    ],
)
def test_a_breaking_or_undocumented_edit_is_a_problem(
    protos: Path, name: str, before: str, after: str, problem: str
) -> None:
    edit(protos, name, before, after)

    problems = "\n".join(check(protos))
    assert any(text in problems for text in problem.split("|")), problems


def test_an_addition_is_no_problem(protos: Path) -> None:
    edit(protos, "analysis", "message Failure {\n", "message Failure {\n  // A link.\n  string link = 9;\n")

    assert check(protos) == []

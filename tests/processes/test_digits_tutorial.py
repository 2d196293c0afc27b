"""The tutorial "Your own classes": its commands run in order and print what the page shows."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Errata

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"
PAGE = (TUTORIALS / "digits.md").read_text(encoding="utf-8")
NOT_RUN = ("pip ", "errata serve")  # installation, and a service that runs until Ctrl-C
EXIT_CODES = {"--gate": 1}
CORRECTION = ("digit_0194.png,eight,eight,", "digit_0194.png,eight,,eight or nine")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def commands() -> Iterator[list[str]]:
    """Yield the words of each command of the page."""
    for block in blocks("console"):
        for line in re.findall(r"^\$ (.*)$", block.replace("\\\n", " "), re.MULTILINE):
            if not line.startswith(NOT_RUN):
                yield shlex.split(line)


def squeeze(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(TUTORIALS / "digits.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def outputs(folder: Path, errata: Errata) -> list[str]:
    """The output of each errata command of the page, after all of them."""
    settings = {"ERRATA_DATA_DIR": str(folder / "data")}  # of this test alone: builds are remembered there
    results = []
    for words in commands():
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            settings[name] = value
        elif words[0] == "python":
            subprocess.run([sys.executable, *words[1:]], check=True, cwd=folder)
            (folder / "digits" / "policy.yaml").write_text(blocks("yaml")[0])
        else:
            if "digits/reviewed" in words and words[1] == "evidence":
                correct_label(folder / "digits" / "labels.csv")
            done = errata(*words[1:], **settings)
            expected = next((code for option, code in EXIT_CODES.items() if option in words), 0)
            assert done.returncode == expected, f"{words}: {done.stdout}{done.stderr}"
            results.append(squeeze(done.stdout + done.stderr))
    return results


def correct_label(labels: Path) -> None:
    """Make the change of the section "Correction of a label"."""
    before, after = CORRECTION
    assert f"`{after}`" in PAGE
    content = labels.read_text(encoding="utf-8")
    assert content.count(f"{before}\n") == 1
    labels.write_text(content.replace(before, after), encoding="utf-8")


def test_the_page_shows_the_sections_of_the_script() -> None:
    sections = re.findall(r"\[start:(\w+)\]", (TUTORIALS / "digits.py").read_text(encoding="utf-8"))

    assert re.findall(r'^--8<-- "docs/tutorials/digits.py:(\w+)"$', PAGE, re.MULTILINE) == sections != []


def test_the_commands_print_what_the_page_shows(
    outputs: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build, first, _, _, reviewed, second, _ = outputs
    rows, table, failures = blocks("text")
    assert (folder / "digits" / "labels.csv").read_text(encoding="utf-8").startswith(rows)
    missing = [line for line in table.splitlines() if squeeze(line) not in first]
    assert missing == []
    code = next(block for block in blocks("python") if "json.loads" in block)
    exec(code, {})
    assert capsys.readouterr().out == failures
    assert (
        squeeze("rules that abstain: fine-grained, out of vocabulary; spurious correlation; non-prototypical") in build
    )
    assert "counted images 1,196" in reviewed and "model failure 69 " in reviewed
    assert "top-1 errors 322" in second and "model failure 237 " in second
    assert {path.name for path in (folder / "digits" / "second").iterdir()} >= {"report.html", "verdicts.jsonl"}
    report = (folder / "digits" / "first" / "report.html").read_text(encoding="utf-8")
    assert all(name in report for name in ("closed curves", "open curves", "straight lines", "seven"))
    errors = int(re.findall(r"The model makes (\d+) errors", PAGE)[0])
    assert report.count("data:image/jpeg") == errors, "each thumbnail is embedded once"
    assert "tench" not in report and "organism" not in report
    assert (folder / "digits" / "comparison.html").is_file()

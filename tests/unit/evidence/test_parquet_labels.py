"""The process that reads Parquet files of labels: how it ends, and what its end means for the file."""

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import structlog
from errata.errors import InvalidEvidence
from pyarrow import parquet

from service.child_process import SINGLE_THREADED
from service.evidence.parquet_labels import to_json_lines

ROW = '{"file_name": "a.jpg", "labels": 7}\n'
pytestmark = pytest.mark.processes


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    parquet.write_table(pa.table({"file_name": ["a.jpg"], "labels": [7]}), tmp_path / "x.parquet")
    return (tmp_path / "x.parquet").read_bytes()


class Children:
    """Runs scripts instead of the first children, and records the children."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, scripts: Sequence[str]) -> None:
        self._run = subprocess.run
        self._scripts = iter(scripts)
        self.statuses: list[int] = []
        self.environments: list[dict[str, str]] = []
        monkeypatch.setattr(subprocess, "run", self.run)

    def run(self, arguments: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        script = next(self._scripts, None)
        child = self._run(arguments if script is None else [arguments[0], "-c", script], **options)
        self.statuses.append(child.returncode)
        self.environments.append(options["env"])
        return child


KILLED = "import os, signal; print('part of a row', flush=True); os.kill(os.getpid(), signal.SIGKILL)"


def test_a_killed_reader_runs_a_second_time(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    children = Children(monkeypatch, [KILLED])

    assert to_json_lines(content, "x.parquet") == ROW
    assert children.statuses == [-signal.SIGKILL, 0]


def test_a_reader_that_is_killed_twice_is_an_error_of_the_file(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    children = Children(monkeypatch, [KILLED, KILLED])

    with pytest.raises(InvalidEvidence, match=r"x\.parquet: .* \(the reader ended with SIGKILL\)"):
        to_json_lines(content, "x.parquet")
    assert children.statuses == [-signal.SIGKILL, -signal.SIGKILL]


@pytest.mark.parametrize(
    ("script", "cause", "logged"),
    [
        ("import sys; sys.exit('Traceback\\nMemoryError: no thread')", "exit status 1", "MemoryError: no thread"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "SIGXCPU", ""),
    ],
)
def test_a_reader_without_a_described_problem_is_logged_with_its_end(
    monkeypatch: pytest.MonkeyPatch, content: bytes, script: str, cause: str, logged: str
) -> None:
    children = Children(monkeypatch, [script])

    with structlog.testing.capture_logs() as logs, pytest.raises(InvalidEvidence) as caught:
        to_json_lines(content, "x.parquet")

    assert f"(the reader ended with {cause})" in caught.value.message
    assert [(log["cause"], log["error"]) for log in logs] == [(cause, logged)]
    assert len(children.statuses) == 1


def test_the_libraries_of_the_reader_start_no_threads(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    children = Children(monkeypatch, [])

    assert to_json_lines(content, "x.parquet") == ROW
    assert children.environments[0].items() >= SINGLE_THREADED.items()

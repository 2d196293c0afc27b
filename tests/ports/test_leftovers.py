"""Leftovers of killed processes in every kind of archive: old ones are removed, and nothing else."""

import json
import time
from pathlib import Path

import pytest
from ports.test_archive import analysis, predictions

from service.archive.archive import FileArchive
from service.archive.files import Files, open_files
from service.archive.leftovers import leftovers, remove_leftovers
from service.storage import LEFTOVER_SECONDS

SCRATCH = [".abc.json.a1b2c3d4", ".abc.predictions.npz.__abcdef"]
FOREIGN = [
    *(".hidden", "notes.txt", "ABC.predictions.npz", "abc.predictions.npz.bak"),
    *(".abc.json.20240229", ".abc.txt.a1b2c3d4", ".abc.json.a1b2c3d", ".abc.json.A1B2C3D4"),
]


def later() -> float:
    """A clock that shows when everything that is there now is old."""
    return time.time() + LEFTOVER_SECONDS + 10


@pytest.fixture(params=["folder", "s3"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    if request.param == "folder":
        return open_files(str(tmp_path / "archive"))
    return open_files(f"{request.getfixturevalue('bucket')}/leftovers-{tmp_path.name}")


def test_old_leftovers_are_removed_and_nothing_else(files: Files) -> None:
    archive = FileArchive(files)
    archive.put(analysis("whole"), predictions())
    for name in ("orphan.predictions.npz", *SCRATCH, *FOREIGN):
        files.write(name, b"content")
    files.write("newer.predictions.npz", b"content")
    files.write("newer.json", json.dumps({"schema": 999}).encode())  # a document that only a newer version reads

    assert remove_leftovers(files, later) == 3
    assert set(files.names()) == {
        *("whole.json", "whole.predictions.npz", "newer.json", "newer.predictions.npz"),
        *FOREIGN,
    }
    assert archive.predictions("whole") is not None
    assert remove_leftovers(files, later) == 0


def test_what_another_process_may_be_writing_stays(files: Files) -> None:
    for name in ("orphan.predictions.npz", *SCRATCH):
        files.write(name, b"content")

    assert remove_leftovers(files) == 0
    assert set(files.names()) == {"orphan.predictions.npz", *SCRATCH}


def test_nothing_is_removed_where_there_is_nothing(files: Files) -> None:
    assert remove_leftovers(files, later) == 0
    assert files.modified("nothing") is None


def test_a_leftover_that_cannot_be_removed_does_not_keep_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.predictions.npz").mkdir()
    (tmp_path / "b.predictions.npz").touch()

    assert remove_leftovers(open_files(str(tmp_path)), later) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["a.predictions.npz"]


def test_the_document_of_another_analysis_saves_no_predictions() -> None:
    assert leftovers(["a.json", "a.predictions.npz", "b.predictions.npz", "c.json"]) == ["b.predictions.npz"]

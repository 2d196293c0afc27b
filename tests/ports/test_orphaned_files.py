"""Orphaned files in all archives on files: old ones are removed, and nothing else."""

import json
import time
from pathlib import Path

import pytest
from ports.test_archive import analysis, predictions

from service.archive.archive import FileArchive
from service.archive.files import Files, open_files
from service.archive.orphaned_files import find_orphaned_files, remove_orphaned_files
from service.storage import ORPHAN_SECONDS

SCRATCH = [".abc.json.a1b2c3d4", ".abc.predictions.npz.__abcdef"]
FOREIGN = [
    *(".hidden", "notes.txt", "ABC.predictions.npz", "abc.predictions.npz.bak"),
    *(".abc.json.20240229", ".abc.txt.a1b2c3d4", ".abc.json.a1b2c3d", ".abc.json.A1B2C3D4"),
]


def later() -> float:
    """Return a time at which all files are old."""
    return time.time() + ORPHAN_SECONDS + 10


@pytest.fixture(params=["folder", "s3"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    if request.param == "folder":
        return open_files(str(tmp_path / "archive"))
    return open_files(f"{request.getfixturevalue('bucket')}/orphans-{tmp_path.name}")


def test_old_orphaned_files_are_removed_and_nothing_else(files: Files) -> None:
    archive = FileArchive(files)
    archive.put(analysis("whole"), predictions())
    for name in ("orphan.predictions.npz", *SCRATCH, *FOREIGN):
        files.write({name: b"content"})
    files.write({"newer.predictions.npz": b"content"})
    files.write({"newer.json": json.dumps({"schema": 999}).encode()})  # a document of a newer version

    assert remove_orphaned_files(files, later) == 3
    assert set(files.names()) == {
        *("whole.json", "whole.predictions.npz", "newer.json", "newer.predictions.npz"),
        *FOREIGN,
    }
    assert archive.predictions("whole") is not None
    assert remove_orphaned_files(files, later) == 0


def test_recent_files_stay_because_another_process_may_write_them(files: Files) -> None:
    for name in ("orphan.predictions.npz", *SCRATCH):
        files.write({name: b"content"})

    assert remove_orphaned_files(files) == 0
    assert set(files.names()) == {"orphan.predictions.npz", *SCRATCH}


def test_an_empty_archive_has_no_orphaned_files(files: Files) -> None:
    assert remove_orphaned_files(files, later) == 0
    assert files.modification_time("nothing") is None


def test_a_file_that_cannot_be_removed_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.predictions.npz").mkdir()
    (tmp_path / "b.predictions.npz").touch()

    assert remove_orphaned_files(open_files(str(tmp_path)), later) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["a.predictions.npz"]


def test_predictions_without_a_document_are_orphaned() -> None:
    assert find_orphaned_files(["a.json", "a.predictions.npz", "b.predictions.npz", "c.json"]) == ["b.predictions.npz"]

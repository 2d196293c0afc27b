"""The records of an archive: objects are read concurrently, and damaged documents are reported once."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import structlog
from fsspec.implementations.memory import MemoryFileSystem

from service.archive.archive import FileArchive
from service.archive.files import FolderFiles, ObjectFiles
from service.domain import Analysis, AnalysisRequest, Predictions, State

ANALYSES = 40


class PairedFileSystem(MemoryFileSystem):
    """An object store that answers a read only while another read is in progress."""

    pair = threading.Barrier(2)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: object) -> bytes:
        self.pair.wait(10)
        return bytes(super().cat_file(path, start, end, **options))


def fill(archive: FileArchive) -> set[str]:
    """Archive analyses, and return their ids."""
    created = datetime(2024, 2, 29, 12, tzinfo=UTC)
    ids = {f"a{number}" for number in range(ANALYSES)}
    for analysis_id in ids:
        analysis = Analysis(analysis_id, AnalysisRequest("demo"), State.FAILED, "e" * 64, created)
        archive.put(analysis, Predictions(np.arange(5, dtype=np.int16)))
    return ids


def test_objects_are_read_concurrently() -> None:
    ids = fill(FileArchive(ObjectFiles(MemoryFileSystem(), "/listing")))
    archive = FileArchive(ObjectFiles(PairedFileSystem(), "/listing"))

    assert {record.analysis.id for record in archive.records(ids)} == ids


@pytest.mark.parametrize("is_link", [False, True])
def test_a_damaged_document_is_reported_once_and_hides_no_other(tmp_path: Path, is_link: bool) -> None:
    ids = fill(FileArchive(FolderFiles(tmp_path)))
    (tmp_path / "a7.json").unlink()
    if is_link:
        (tmp_path / "a7.json").symlink_to("a7.json")
    else:
        (tmp_path / "a7.json").write_bytes(b"{")
    archive = FileArchive(FolderFiles(tmp_path))

    with structlog.testing.capture_logs() as log:
        for _ in range(2):
            assert {record.analysis.id for record in archive.records(archive.ids())} == ids - {"a7"}

    assert [(event["event"], event["analysis"]) for event in log] == [("archived analysis unreadable", "a7")]

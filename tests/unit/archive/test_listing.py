"""The first listing of an archive: each document is read once, and objects are read concurrently."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from fsspec.implementations.memory import MemoryFileSystem

from service.archive.archive import FileArchive
from service.archive.files import FolderFiles, ObjectFiles
from service.domain import Analysis, AnalysisRequest, Predictions, State

CALLERS = 8
ANALYSES = 40


class CountingFiles(FolderFiles):
    """A folder that counts the reads of each file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.reads: Counter[str] = Counter()

    def read(self, name: str) -> bytes | None:
        self.reads[name] += 1
        return super().read(name)


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


def test_concurrent_first_listings_read_each_document_once(tmp_path: Path) -> None:
    ids = fill(FileArchive(FolderFiles(tmp_path)))
    files = CountingFiles(tmp_path)
    archive = FileArchive(files)
    start = threading.Barrier(CALLERS)

    def first_listing(_: int) -> set[str]:
        start.wait(10)
        return {analysis.id for analysis in archive.list()}

    with ThreadPoolExecutor(CALLERS) as pool:
        assert list(pool.map(first_listing, range(CALLERS))) == [ids] * CALLERS
    assert files.reads == {f"{analysis_id}.json": 1 for analysis_id in ids}


def test_objects_are_read_concurrently() -> None:
    ids = fill(FileArchive(ObjectFiles(MemoryFileSystem(), "/listing")))
    archive = FileArchive(ObjectFiles(PairedFileSystem(), "/listing"))

    assert {analysis.id for analysis in archive.list()} == ids

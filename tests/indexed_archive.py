"""An archive in memory with an index in a temporary file, which is deleted with the index."""

import shutil
import tempfile
import weakref
from pathlib import Path

from service.archive.index import SqliteIndex
from service.archive.indexed import IndexedArchive
from service.archive.memory import InMemoryArchive
from service.domain import Analysis

MEMORY = Path("/dev/shm")


def temporary_index() -> SqliteIndex:
    """Return an empty index that belongs to an archive and is complete."""
    folder = tempfile.mkdtemp(prefix="errata-index-", dir=MEMORY if MEMORY.is_dir() else None)
    index = SqliteIndex(Path(folder) / "index.sqlite")
    weakref.finalize(index, shutil.rmtree, folder, ignore_errors=True)
    index.bind("0" * 32)
    index.mark(is_complete=True)
    return index


class InMemoryIndexedArchive(IndexedArchive):
    """An archive in memory with an index."""

    def __init__(self) -> None:
        super().__init__(InMemoryArchive(), temporary_index())

    def list(self) -> list[Analysis]:
        """Return all analyses that the archive has, also those that are not in the index."""
        return [record.analysis for record in self.records(sorted(self.ids()))]

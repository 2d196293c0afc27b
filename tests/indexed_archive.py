"""An archive with an index, both in temporary folders in memory, which are deleted with their objects."""

import shutil
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from service.archive.archive import FileArchive
from service.archive.files import FolderFiles
from service.archive.index import SqliteIndex
from service.archive.indexed import IndexedArchive
from service.domain import Analysis

MEMORY = Path("/dev/shm")
Owner = TypeVar("Owner")


def _in_temporary_folder(make: Callable[[Path], Owner]) -> Owner:
    folder = tempfile.mkdtemp(prefix="errata-", dir=MEMORY if MEMORY.is_dir() else None)
    owner = make(Path(folder))
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return owner


def temporary_files() -> FolderFiles:
    """Return an empty folder for an archive."""
    return _in_temporary_folder(FolderFiles)


def temporary_index() -> SqliteIndex:
    """Return an empty index that belongs to an archive and is complete."""
    index = _in_temporary_folder(lambda folder: SqliteIndex(folder / "index.sqlite"))
    index.bind("0" * 32)
    index.mark(is_complete=True)
    return index


class InMemoryIndexedArchive(IndexedArchive):
    """An archive in memory with an index."""

    def __init__(self) -> None:
        super().__init__(FileArchive(temporary_files()), temporary_index())

    def list(self) -> list[Analysis]:
        """Return all analyses that the archive has, also those that are not in the index."""
        return [record.analysis for record in self.stored.records(sorted(self.stored.ids()))]

"""The file of an index. Each process has its own file, even if several processes share a data folder.

SQLite's write-ahead log needs memory that all its users share, so processes on several hosts cannot use one file on a
network file system. Each process locks the first free number of the folder and uses the file of this number. The kernel
releases the lock however the process ends, and the next process continues with the file.
"""

import fcntl
import os
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from service.archive.index.sqlite import SqliteIndex

MAX_SLOTS = 64
_log = structlog.get_logger()


@dataclass(frozen=True)
class IndexFile:
    """The path of an index that no other process uses until `close`."""

    path: Path
    close: Callable[[], None]  # releases the file for other processes


def open_index(folder: Path) -> tuple[IndexFile, SqliteIndex]:
    """Return an index that no other process uses, and its file.

    Args:
        folder: The folder of the index files. If the disk is full or the file cannot be opened or replaced, the file is
            temporary.
    """
    file = claim_index_file(folder)
    try:
        return file, SqliteIndex(file.path)
    except (OSError, sqlite3.Error) as error:
        file.close()
        _log.warning("index is temporary", folder=str(folder), error=str(error))
    file = temporary_index_file()
    return file, SqliteIndex(file.path)


def claim_index_file(folder: Path) -> IndexFile:
    """Return a file that no other process uses.

    Args:
        folder: The folder of the index files. If it cannot be written, the file is temporary.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for slot in range(MAX_SLOTS):
            lock = os.open(folder / f"{slot}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            except OSError:
                os.close(lock)
                raise
            return IndexFile(folder / f"{slot}.sqlite", partial(os.close, lock))
        reason = f"{MAX_SLOTS} processes use the folder"
    except OSError as error:
        reason = str(error)
    _log.warning("index is temporary", folder=str(folder), error=reason)
    return temporary_index_file()


def temporary_index_file() -> IndexFile:
    """Return a file that `close` deletes."""
    temporary = tempfile.TemporaryDirectory(prefix="errata-index-")
    return IndexFile(Path(temporary.name) / "index.sqlite", temporary.cleanup)

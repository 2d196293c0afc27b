"""A cache of pictures in a folder that several processes share. It removes the least recently used files.

A file contains the SHA-256 of its content, and then the content. Its modification time is the time of the last use. All
writes hold a lock, so that the folder does not exceed its maximum size. A process that is killed leaves at most a
temporary file, and a recorded total size that is too large by one file.
"""

import hashlib
import os
import random
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import structlog

from service.storage import lock, read_regular_file, replace_file

BLOCK = 4096  # bytes; a file occupies whole blocks
DIGEST = hashlib.sha256().digest_size
MAX_FILE = 32 << 20  # bytes
SAMPLE = 1000  # number of files from which a removal chooses
REMOVED_SHARE = 0.1  # minimum share of the sample that is removed
USE_SECONDS = 60.0  # a use is not recorded if the previous record is more recent than this
LOCK, TOTAL = "lock", "total"
_log = structlog.get_logger()


class PictureCache:
    """Pictures by key, a hexadecimal digest. An unreadable file counts as missing; write errors are logged."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Prepare the cache.

        Args:
            folder: The folder, which the first write creates.
            max_bytes: Maximum size of the folder; 0: nothing is cached.
        """
        self._folder = folder
        self._max_bytes = max_bytes
        self._is_failing = False

    def read(self, key: str) -> bytes | None:
        """Return a picture; None if it is not in the cache, or if its file is damaged, as after a power failure."""
        path = self._path(key)
        try:
            entry = read_regular_file(path, MAX_FILE)
        except OSError:
            return None
        if entry is None or hashlib.sha256(entry[DIGEST:]).digest() != entry[:DIGEST]:
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):  # a full or read-only disk
            if time.time() - path.stat().st_mtime > USE_SECONDS:
                os.utime(path)
        return entry[DIGEST:]

    def write(self, key: str, content: bytes) -> None:
        """Add a picture, and remove others if the folder becomes too large."""
        entry = hashlib.sha256(content).digest() + content
        size = _occupied(len(entry))
        if size > self._max_bytes or len(entry) > MAX_FILE:
            return
        try:
            with lock(self._folder / LOCK):
                self._reserve(size)
                replace_file(self._path(key), entry)
        except OSError as error:
            if not self._is_failing:
                _log.warning("cache of pictures cannot be written", folder=str(self._folder), error=str(error))
            self._is_failing = True
        else:
            self._is_failing = False

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / key[2:]

    def _reserve(self, size: int) -> None:
        """Add a size to the total. If the total would exceed the maximum size, remove files first."""
        total = self._read_total()
        total = self._measure() if total is None else total
        if total + size > self._max_bytes:
            total = self._remove(total, self._max_bytes - size)
        (self._folder / TOTAL).write_bytes(str(total + size).encode())  # after a torn write, the files are measured

    def _read_total(self) -> int | None:
        """Return the total that the last write recorded; None if there is no valid record."""
        try:
            return int(read_regular_file(self._folder / TOTAL, DIGEST) or b"")
        except (OSError, ValueError):
            return None

    def _measure(self) -> int:
        return sum(file.size for folder in self._folders() for file in _files(folder))

    def _remove(self, total: int, limit: int) -> int:
        """Remove the least recently used files of a sample until the total is below a limit; return the new total.

        A sample limits the time for which the lock is held. If the cache has few files, the sample has all of them.
        """
        while total > limit:
            folders, sample = self._folders(), list[_File]()
            random.shuffle(folders)
            while folders and len(sample) < SAMPLE:
                sample += _files(folders.pop())
            if not folders and (total := sum(file.size for file in sample)) <= limit:  # the sample has all files
                break
            sample.sort()
            most, least = max(1, len(sample) // 2), len(sample) * REMOVED_SHARE
            for count, file in enumerate(sample[:most]):
                if total <= limit and count >= least:
                    break
                Path(file.path).unlink(missing_ok=True)
                total -= file.size
        return total

    def _folders(self) -> list[str]:
        with os.scandir(self._folder) as entries:
            return [entry.path for entry in entries if entry.is_dir()]


class _File(NamedTuple):
    """A file in the cache. Sorting puts the least recently used file first."""

    last_use: float
    size: int  # bytes
    path: str


def _files(folder: str) -> list[_File]:
    """Return the files of a subfolder. Temporary files, which killed processes left, count as the oldest."""
    files = []
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # a reader removed a damaged file
                status = entry.stat(follow_symlinks=False)
                last_use = 0.0 if entry.name.startswith(".") else status.st_mtime
                files.append(_File(last_use, _occupied(status.st_size), entry.path))
    return files


def _occupied(size: int) -> int:
    return -(-size // BLOCK) * BLOCK

"""A cache of pictures in a folder that several processes share. It removes the files that were not used for longest.

A file has the SHA-256 of its content, and the content. The modification time is the time of the last use. All writes
hold a lock, so that the size of the folder stays within its bound. A process that is killed leaves at most a temporary
file, and a total that is too large; the next removal corrects both.
"""

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path

import structlog

from service.storage import lock, read_regular_file, replace_file

BLOCK = 4096  # bytes; files occupy whole blocks
DIGEST = hashlib.sha256().digest_size
MAX_FILE = 32 << 20  # bytes
KEPT_SHARE = 0.9  # of the bound, after a removal
USE_SECONDS = 60.0  # a use within this time of the previous one is not recorded
LOCK, TOTAL = "lock", "total"
_log = structlog.get_logger()


class PictureCache:
    """Pictures by key, a hexadecimal digest. Failures of the disk are logged, and count as a missing picture."""

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
        """Return a picture; None if it is not in the cache, or if a failure of power damaged its file."""
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
        """Add a size to the total; remove files before, if the total would exceed the bound."""
        total = self._read_total()
        if total is None or total + size > self._max_bytes:
            total = self._remove(self._max_bytes - size)
        replace_file(self._folder / TOTAL, str(total + size).encode())

    def _read_total(self) -> int | None:
        """Return the total that the last write recorded; None if there is none."""
        try:
            return int(read_regular_file(self._folder / TOTAL, DIGEST) or b"")
        except (OSError, ValueError):
            return None

    def _remove(self, limit: int) -> int:
        """Measure the files; if they exceed the limit, remove the least recently used. Return the new total."""
        files = []
        for path in self._folder.glob("*/*"):
            with suppress(FileNotFoundError):  # a reader removed a damaged file
                status = path.stat()
                is_complete = not path.name.startswith(".")  # no other process writes a temporary file meanwhile
                files.append((status.st_mtime if is_complete else 0.0, _occupied(status.st_size), path))
        total = sum(size for _, size, _ in files)
        target = min(limit, int(self._max_bytes * KEPT_SHARE)) if total > limit else limit
        for _, size, path in sorted(files, key=lambda file: file[0]):
            if total <= target:
                break
            path.unlink(missing_ok=True)
            total -= size
        return total


def _occupied(size: int) -> int:
    return -(-size // BLOCK) * BLOCK

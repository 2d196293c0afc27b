"""Arrays in `.npy` files that are read with `pread` instead of a memory map.

An access to a memory-mapped file that was truncated ends the process with SIGBUS. A read with `pread` instead raises an
error that the caller can handle.
"""

import hashlib
import math
import os
import weakref
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from service.storage import parse_literal

MAX_READ = 1 << 30  # bytes in one call of `preadv`; Linux reads at most 2 GiB


class DamagedFile(ValueError):
    """The file changed after it was opened, or it does not contain the expected array."""


@dataclass(frozen=True)
class FileState:
    """Identity and version of a file. A replacement of the file changes both. A write changes only the version."""

    device: int
    inode: int
    size: int  # bytes
    mtime_ns: int

    @classmethod
    def of(cls, stat: os.stat_result) -> "FileState":
        """Create the state from the result of a `stat` call."""
        return cls(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)


class ArrayFile:
    """An open `.npy` file. If another file replaces it by a rename, the array stays readable and unchanged."""

    def __init__(self, path: Path) -> None:
        """Open a file and read its header.

        Raises:
            DamagedFile: If the size of the file does not match its header, or if the array has Python objects.
            OSError: If the file cannot be opened.
            Exception: If numpy cannot parse the header.
        """
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._close = weakref.finalize(self, os.close, self._handle)
        self.state = FileState.of(os.fstat(self._handle))
        with open(self._handle, "rb", closefd=False) as file:
            self.shape, self._fortran, self.dtype = parse_literal(partial(_read_header, file))
            self._offset = file.tell()
        if self.dtype.hasobject:
            raise DamagedFile("the array contains Python objects")
        if self._offset + math.prod(self.shape) * self.dtype.itemsize != self.state.size:
            raise DamagedFile(f"an array of shape {self.shape} does not fit into {self.state.size} bytes")

    def __len__(self) -> int:
        return int(self.shape[0]) if self.shape else 0

    def close(self) -> None:
        """Close the file. It cannot be read afterward."""
        self._close()

    def has_changed(self) -> bool:
        """Return whether the file was written to after it was opened."""
        return FileState.of(os.fstat(self._handle)) != self.state

    def read(self, sha256: str = "") -> NDArray[Any]:
        """Return the whole array, read-only.

        Args:
            sha256: Expected SHA-256 of the file, hexadecimal. If it is empty, the digest is not checked.

        Raises:
            DamagedFile: If the file changed after it was opened, or if its digest differs.
        """
        content = np.empty(self.state.size, dtype=np.uint8)
        self._fill(content, 0)
        if sha256 and hashlib.sha256(content.data).hexdigest() != sha256:
            raise DamagedFile(f"the SHA-256 differs from {sha256}")
        content.flags.writeable = False
        array = content[self._offset :].view(self.dtype)
        return array.reshape(self.shape, order="F" if self._fortran else "C")

    def row(self, number: int) -> NDArray[Any]:
        """Read one row. The result has the shape (1, …). Raises DamagedFile if the file changed."""
        if self._fortran:
            return self.read()[number : number + 1]
        row = np.empty((1, *self.shape[1:]), dtype=self.dtype)
        self._fill(row.view(np.uint8).reshape(-1), self._offset + number * row.nbytes)
        return row

    def _fill(self, target: NDArray[np.uint8], offset: int) -> None:
        """Fill an array with the bytes of the file from an offset."""
        filled = 0
        while filled < len(target):
            count = os.preadv(self._handle, [target[filled : filled + MAX_READ].data], offset + filled)
            if not count:
                raise DamagedFile("the file was truncated while it was in use")
            filled += count
        if self.has_changed():
            raise DamagedFile("the file was written to while it was in use")


def _read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    file.seek(0)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)

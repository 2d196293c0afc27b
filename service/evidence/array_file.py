"""An array in a `.npy` file that is read with `pread`.

A file that is truncated under a memory map ends the process with SIGBUS. A short read is an error that a caller can
handle.
"""

import hashlib
import math
import os
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_READ = 1 << 30  # bytes in one call of `preadv`; Linux reads at most 2 GiB


class DamagedFile(ValueError):
    """Raised when a file is not the array that it was when it was opened, or that it should be."""


@dataclass(frozen=True)
class FileState:
    """The identity and the version of a file: both change when it is replaced, the second when it is written to."""

    device: int
    inode: int
    size: int  # bytes
    mtime_ns: int

    @classmethod
    def of(cls, stat: os.stat_result) -> "FileState":
        """Return the state that a `stat` call reports."""
        return cls(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)


class ArrayFile:
    """An open `.npy` file. A file that replaces it by a rename leaves this array as it was."""

    def __init__(self, path: Path) -> None:
        """Open a file and read its header.

        Raises:
            DamagedFile: If the file is not as long as its header says, or holds Python objects.
            OSError: If the file cannot be opened.
            Exception: Whatever numpy's parser raises for a header that is none.
        """
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._close = weakref.finalize(self, os.close, self._handle)
        self.state = FileState.of(os.fstat(self._handle))
        with open(self._handle, "rb", closefd=False) as file:
            version = np.lib.format.read_magic(file)
            read_header = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            self.shape, self._fortran, self.dtype = read_header(file)
            self._offset = file.tell()
        if self.dtype.hasobject:
            raise DamagedFile("expected numbers or bytes, got Python objects")
        if self._offset + math.prod(self.shape) * self.dtype.itemsize != self.state.size:
            raise DamagedFile(f"expected an array of shape {self.shape}, got {self.state.size} bytes")

    def __len__(self) -> int:
        return int(self.shape[0]) if self.shape else 0

    def close(self) -> None:
        """Close the file; it cannot be read any more."""
        self._close()

    def changed(self) -> bool:
        """Return whether the file was written to since it was opened."""
        return FileState.of(os.fstat(self._handle)) != self.state

    def read(self, sha256: str = "") -> NDArray[Any]:
        """Return the whole array, read-only.

        Args:
            sha256: Digest that the file must have, hexadecimal; empty for any.

        Raises:
            DamagedFile: If the file changed since it was opened, or has another digest.
        """
        content = np.empty(self.state.size, dtype=np.uint8)
        self._fill(content, 0)
        if sha256 and hashlib.sha256(content.data).hexdigest() != sha256:
            raise DamagedFile(f"expected SHA-256 {sha256}, got another")
        content.flags.writeable = False
        array = content[self._offset :].view(self.dtype)
        return array.reshape(self.shape, order="F" if self._fortran else "C")

    def row(self, number: int) -> NDArray[Any]:
        """Return one row as an array of one row, without reading the others; raise DamagedFile as `read` does."""
        if self._fortran:
            return self.read()[number : number + 1]
        row = np.empty((1, *self.shape[1:]), dtype=self.dtype)
        self._fill(row.view(np.uint8).reshape(-1), self._offset + number * row.nbytes)
        return row

    def _fill(self, target: NDArray[np.uint8], offset: int) -> None:
        """Read bytes of the file into an array until it is full."""
        done = 0
        while done < len(target):
            count = os.preadv(self._handle, [target[done : done + MAX_READ].data], offset + done)
            if not count:
                raise DamagedFile("the file was truncated while it was in use")
            done += count
        if self.changed():
            raise DamagedFile("the file was written to while it was in use")

"""npz, the authors' preds.npz: top1 (N,), and if they are there probs (N, 1000) and top5 (N, 5)."""

import bz2
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from typing import BinaryIO

import numpy as np

from service.domain import NUM_CLASSES
from service.errors import InvalidUpload, TooLarge, TruncatedUpload
from service.predictions.uploads import npy
from service.predictions.uploads.rows import OrderedRows
from service.predictions.uploads.validate import Layout
from service.storage import Readable

MEMBERS = 16
UNREADABLE = (
    *(zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError, OSError, ValueError, OverflowError),
)  # what zipfile raises for a damaged archive, besides BadZipFile
MAX_INDEX = 64 << 10  # bytes of the archive's index
ENTRY = b"PK\x01\x02"  # an entry of the index starts so
END_SEARCH = (64 << 10) + 22
STEP = 4 << 10  # bytes of LZMA that are unpacked at once, to 28 MiB at most


def recognizes(head: bytes) -> bool:
    """Say whether a file starts like a zip archive."""
    return head.startswith(b"PK\x03\x04")


def read(content: BinaryIO, layout: Layout, limit: int) -> OrderedRows:
    """Return the classes, with their probabilities where there are scores; raise InvalidUpload without `top1`."""
    try:
        _check_index(content)
        with zipfile.ZipFile(content) as archive:
            members = {info.filename: info for info in archive.infolist()}
            if len(archive.infolist()) > MEMBERS or sum(info.file_size for info in archive.infolist()) > limit:
                raise TooLarge(f"expected at most {MEMBERS} arrays and {limit} bytes unpacked, got more", field="chunk")
            if "top1.npy" not in members:
                found = sorted(name.removesuffix(".npy")[:40] for name in members)
                raise InvalidUpload(f"expected an array top1, got {found}", field="chunk")
            return _read(archive, "probs.npy" in members, layout)
    except zipfile.BadZipFile as error:
        raise TruncatedUpload(f"expected a whole npz file, got {error}", field="chunk") from error
    except UNREADABLE as error:
        raise InvalidUpload(f"expected a readable npz file, got {type(error).__name__}", field="chunk") from error


def _check_index(content: BinaryIO) -> None:
    """Raise TooLarge before an index of far too many members is read into memory.

    The index stands between the last array and the end: no more than a few kilobytes, so that whatever it says of
    itself, as many signatures of entries as it has are counted in the file's last part.
    """
    size = content.seek(0, io.SEEK_END)
    content.seek(max(0, size - MAX_INDEX - END_SEARCH))
    tail = content.read()
    content.seek(0)
    if tail.count(ENTRY) > MEMBERS:
        raise TooLarge(f"expected at most {MEMBERS} arrays, got an index of more", field="chunk")


def _read(archive: zipfile.ZipFile, has_scores: bool, layout: Layout) -> OrderedRows:
    images = len(layout.names)
    with _opened(archive, "top1.npy") as member:
        shape, dtype, _ = npy.read_header(member, "top1")
        top1 = npy.read_classes(member, shape, dtype, images, "top1")
    if not has_scores:
        return OrderedRows(top1, None)
    differing = 0

    def chosen(
        block: np.ndarray[tuple[int, int], np.dtype[np.float32]], start: int
    ) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        nonlocal differing
        rows = top1[start : start + len(block)]
        best = np.take_along_axis(block, np.clip(rows, 0, NUM_CLASSES - 1)[:, None], axis=1)[:, 0]
        differing += int((best < block.max(axis=1)).sum())
        return rows

    with _opened(archive, "probs.npy") as member:
        shape, dtype, fortran = npy.read_header(member, "probs")
        rows = npy.collect(npy.score_blocks(member, shape, dtype, fortran, images, "probs"), chosen, layout)
    warnings = (f"{differing} rows of top1 aren't the best class of probs; top1 counts",) if differing else ()
    return replace(rows, warnings=warnings)


@contextmanager
def _opened(archive: zipfile.ZipFile, name: str) -> Iterator[Readable]:
    """Give an array's bytes, unpacked as they are read, whatever the index says of its size.

    zipfile unpacks bzip2 and LZMA without a bound (deflate has one): what it reads of them at once, all at once.
    """
    info = archive.getinfo(name)
    if info.compress_type == zipfile.ZIP_BZIP2:
        packed = copy(info)
        packed.compress_type, packed.file_size = zipfile.ZIP_STORED, info.compress_size
        del packed.CRC  # of what is unpacked; bzip2 has its own
        with archive.open(packed) as raw, bz2.BZ2File(raw) as member:
            yield member
    else:
        with archive.open(info) as file:
            yield _InSteps(file) if info.compress_type == zipfile.ZIP_LZMA else file


class _InSteps:
    """A file that gives a little at a time."""

    def __init__(self, file: Readable) -> None:
        self._file = file

    def read(self, size: int = -1, /) -> bytes:
        """Return up to STEP of the next bytes."""
        return self._file.read(min(size, STEP) if size >= 0 else STEP)

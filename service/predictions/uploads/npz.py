"""npz, the authors' preds.npz: top1 (N,), and if they are there probs (N, 1000) and top5 (N, 5)."""

import lzma
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import BinaryIO

import numpy as np
from errata.errors import InvalidUpload, TooLarge, TruncatedUpload

from service.domain import NUM_CLASSES
from service.predictions.uploads import npy
from service.predictions.uploads.rows import OrderedRows

MEMBERS = 16
UNREADABLE = (
    *(zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError, OSError, ValueError, OverflowError),
)  # what zipfile raises for a damaged archive, besides BadZipFile


def recognizes(head: bytes) -> bool:
    """Say whether a file starts like a zip archive."""
    return head.startswith(b"PK\x03\x04")


def read(content: BinaryIO, images: int, classes: Sequence[int] | None, limit: int) -> OrderedRows:
    """Return the classes, with their probabilities where there are scores; raise InvalidUpload without `top1`."""
    try:
        with zipfile.ZipFile(content) as archive:
            members = {info.filename: info for info in archive.infolist()}
            if len(archive.infolist()) > MEMBERS or sum(info.file_size for info in archive.infolist()) > limit:
                raise TooLarge(f"expected at most {MEMBERS} arrays and {limit} bytes unpacked, got more", field="chunk")
            if "top1.npy" not in members:
                result = sorted(name.removesuffix(".npy")[:40] for name in members)
                raise InvalidUpload(f"expected an array top1, got {result}", field="chunk")
            return _read(archive, "probs.npy" in members, images, classes)
    except zipfile.BadZipFile as error:
        raise TruncatedUpload(f"expected a whole npz file, got {error}", field="chunk") from error
    except UNREADABLE as error:
        raise InvalidUpload(f"expected a readable npz file, got {type(error).__name__}", field="chunk") from error


def _read(archive: zipfile.ZipFile, has_scores: bool, images: int, classes: Sequence[int] | None) -> OrderedRows:
    with archive.open("top1.npy") as member:
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

    with archive.open("probs.npy") as member:
        shape, dtype, fortran = npy.read_header(member, "probs")
        rows = npy.collect(npy.score_blocks(member, shape, dtype, fortran, images, "probs"), chosen, classes)
    warnings = (f"{differing} rows of top1 aren't the best class of probs; top1 counts",) if differing else ()
    return replace(rows, warnings=warnings)

"""npz, in the form of the paper's preds.npz: top1 (N,), optionally probs (N, C). Other arrays are ignored."""

import lzma
import zipfile
import zlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import BinaryIO

import numpy as np
from errata.errors import InvalidUpload, TooLarge, TruncatedUpload
from numpy.typing import NDArray

from service.predictions.uploads import npy
from service.predictions.uploads.other_formats import check_zip_members
from service.predictions.uploads.rows import OrderedRows
from service.predictions.uploads.terms import format_size

MAX_ARRAYS = 16
UNREADABLE = (  # errors of zipfile for a damaged archive, besides BadZipFile
    *(zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError, OSError, ValueError, OverflowError),
)


def recognizes(head: bytes) -> bool:
    """Return whether a file starts with the signature of a ZIP archive."""
    return head.startswith(b"PK\x03\x04")


def read(content: BinaryIO, expected: tuple[int, int], classes: Sequence[int] | None, limit: int) -> OrderedRows:
    """Return the classes, with their probabilities if the file has scores.

    Args:
        content: The file.
        expected: Numbers of images and of classes of the data set, (N, C).
        classes: Classes of the data set; None: all.
        limit: Maximum size of the unpacked arrays in bytes.

    Raises:
        InvalidUpload: The file is damaged, or has no usable `top1`.
        TooLarge: The file has too many arrays, or unpacks to more than `limit`.
    """
    try:
        with zipfile.ZipFile(content) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            check_zip_members(names)
            if len(members) > MAX_ARRAYS:
                raise TooLarge(
                    f"The npz file has {len(members):,} arrays. Expected at most {MAX_ARRAYS}. Save only top1 and "
                    "probs.",
                    field="chunk",
                )
            if (size := sum(member.file_size for member in members)) > limit:
                raise TooLarge(
                    f"The npz file unpacks to {format_size(size)}. Expected at most {format_size(limit)}. Save only "
                    "top1 and probs, or ask the operator to raise ERRATA_MAX_UPLOAD_BYTES.",
                    field="chunk",
                )
            _check_arrays(names)
            return _read_arrays(archive, "probs.npy" in names, expected, classes)
    except zipfile.BadZipFile as error:
        raise TruncatedUpload(
            f"The npz file is incomplete or damaged ({error!s:.80}). Upload it again, or save it again with "
            "numpy.savez.",
            field="chunk",
        ) from error
    except UNREADABLE as error:
        raise InvalidUpload(
            f"The npz file is damaged ({type(error).__name__}). Save it again with numpy.savez.", field="chunk"
        ) from error


def _check_arrays(names: Collection[str]) -> None:
    if "top1.npy" in names:
        return
    arrays = sorted(name.removesuffix(".npy")[:40] for name in names if name.endswith(".npy"))
    if arrays:
        raise InvalidUpload(
            f"Missing array 'top1'. The npz file has {', '.join(map(repr, arrays))}. Rename the array with the "
            "class indices, or save scores alone as an npy file.",
            field="chunk",
        )
    members = ", ".join(repr(name[:40]) for name in sorted(names)[:10]) or "no files"
    raise InvalidUpload(
        f"The file is a ZIP archive with {members}, not an npz file. Extract the predictions file, and upload it. CSV "
        "and JSONL files may be compressed with gzip or zstd.",
        field="chunk",
    )


def _read_arrays(
    archive: zipfile.ZipFile, has_scores: bool, expected: tuple[int, int], classes: Sequence[int] | None
) -> OrderedRows:
    with archive.open("top1.npy") as member:
        label = "Array 'top1'"
        shape, dtype, _ = npy.read_header(member, label)
        top1 = npy.read_classes(member, shape, dtype, expected, label)
    if not has_scores:
        return OrderedRows(top1, None)
    num_different = 0

    def choose(block: NDArray[np.float32], start: int) -> NDArray[np.int64]:
        nonlocal num_different
        rows = top1[start : start + len(block)]
        num_different += int((npy.scores_of(block, rows) < block.max(axis=1)).sum())
        return rows

    with archive.open("probs.npy") as member:
        label = "Array 'probs'"
        shape, dtype, is_fortran = npy.read_header(member, label)
        blocks = npy.read_score_blocks(member, shape, dtype, is_fortran, expected, label)
        rows = npy.collect_rows(blocks, choose, classes)
    if not num_different:
        return rows
    warning = f"Rows of top1 that are not the best class of probs: {num_different}. Errata uses top1."
    return replace(rows, warnings=(warning,))

"""npy: (N,) classes, or (N, 1000) scores of which the highest counts; never a pickle, read in blocks of rows."""

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from errata.errors import InvalidRow, InvalidUpload, TruncatedUpload, UnsupportedFormat, Violation
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from service.domain import NUM_CLASSES
from service.predictions.uploads.rows import OrderedRows
from service.predictions.uploads.validation import SHOWN
from service.storage import Readable

HEADER_LIMIT = 10_000  # bytes, as numpy's own
BLOCK = 4096  # rows: 16 MB of float32 scores


def recognizes(head: bytes) -> bool:
    """Say whether a file starts like npy."""
    return head.startswith(npy_format.MAGIC_PREFIX)


def read(content: Readable, images: int, classes: Sequence[int] | None) -> OrderedRows:
    """Return the classes, or the best class of each row of scores; raise InvalidUpload for any other array."""
    shape, dtype, fortran = read_header(content, "the array")
    if len(shape) == 1:
        return OrderedRows(read_classes(content, shape, dtype, images, "the array"), None)
    blocks = score_blocks(content, shape, dtype, fortran, images, "the array")
    return collect(blocks, lambda block, _: block.argmax(axis=1), classes)


def read_header(content: Readable, what: str) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Return shape, type and Fortran order of an array; refuse Python objects, which only a pickle holds."""
    try:
        major, _ = npy_format.read_magic(content)
        width = content.read(2 if major == 1 else 4)
        size = int.from_bytes(width, "little")
        if size > HEADER_LIMIT:
            raise ValueError(f"a header of {size} bytes")
        read = npy_format.read_array_header_1_0 if major == 1 else npy_format.read_array_header_2_0
        shape, fortran, dtype = read(io.BytesIO(width + content.read(size)))
        if any(length.bit_length() > 63 for length in shape):  # thousands of digits can't even be printed
            raise ValueError("an array larger than any")
    except Exception as error:  # numpy evaluates the header as Python's literal: any error can come of it
        raise InvalidUpload(f"expected {what} in npy format, got a header that doesn't parse", field="chunk") from error
    if dtype.hasobject:
        raise UnsupportedFormat(
            f"expected numbers in {what}, got Python objects (a pickle), which are never read", field="chunk"
        )
    return shape, dtype, fortran


def read_classes(
    content: Readable, shape: tuple[int, ...], dtype: np.dtype[Any], num_images: int, what: str
) -> NDArray[np.int64]:
    """Return an (N,) array of class indices."""
    if shape != (num_images,):
        raise InvalidUpload(f"expected {what} of shape ({num_images},), got {shape}", field="chunk")
    if dtype.kind not in "iu":
        raise InvalidUpload(f"expected {what} to hold integer classes, got {dtype}", field="chunk")
    values = _read_exactly(content, num_images, dtype, what)
    return np.asarray(np.clip(values, -1, NUM_CLASSES), dtype=np.int64)


def score_blocks(
    content: Readable, shape: tuple[int, ...], dtype: np.dtype[Any], fortran: bool, num_images: int, what: str
) -> Iterator[NDArray[np.float32]]:
    """Yield an (N, 1000) array of scores in blocks of rows; raise InvalidRow for a row with NaN."""
    if shape != (num_images, NUM_CLASSES):
        raise InvalidUpload(f"expected {what} of shape ({num_images}, {NUM_CLASSES}), got {shape}", field="chunk")
    if dtype.kind != "f" or fortran:
        kind = "columns first" if fortran else str(dtype)
        raise InvalidUpload(f"expected {what} to hold floating-point scores, rows first, got {kind}", field="chunk")
    violations: list[Violation] = []
    count = 0
    for start in range(0, num_images, BLOCK):
        rows = min(BLOCK, num_images - start)
        block = _read_exactly(content, rows * NUM_CLASSES, dtype, what).reshape(rows, NUM_CLASSES)
        if dtype.itemsize < np.dtype(np.float32).itemsize:
            block = block.astype(np.float32)  # sums of float16 are too coarse
        bad = np.flatnonzero(np.isnan(block).any(axis=1))
        if len(bad):
            violations += [Violation("row", "expected scores, got NaN", int(start + row + 1)) for row in bad[:SHOWN]]
            count += len(bad)
            continue
        yield block
    if violations:
        more = f" (and {count - 1} more)" if count > 1 else ""
        message = f"{what}, row {violations[0].line}: expected scores, got NaN{more}"
        raise InvalidRow(message, violations=violations[:SHOWN])


def collect(
    blocks: Iterator[NDArray[np.float32]],
    choose: Callable[[NDArray[np.float32], int], NDArray[np.int64]],
    classes: Sequence[int] | None,
) -> OrderedRows:
    """Return the chosen class of each row, its score where the rows are distributions, and the data set's own best."""
    own = None if classes is None else np.array(classes, dtype=np.intp)
    chosen, scores, top1_restricted, distributions, start = [], [], [], True, 0
    for block in blocks:
        best = choose(block, start)
        chosen.append(best)
        scores.append(np.take_along_axis(block, np.clip(best, 0, NUM_CLASSES - 1)[:, None], axis=1)[:, 0])
        distributions &= bool((block >= 0).all() and np.allclose(block.sum(axis=1), 1, atol=1e-2))
        if own is not None:
            top1_restricted.append(own[block[:, own].argmax(axis=1)])
        start += len(block)
    return OrderedRows(
        top1=np.concatenate(chosen),
        probability=np.concatenate(scores).astype(np.float32) if distributions else None,
        top1_restricted=np.concatenate(top1_restricted) if top1_restricted else None,
    )


def _read_exactly(content: Readable, count: int, dtype: np.dtype[Any], what: str) -> NDArray[Any]:
    wanted = count * dtype.itemsize
    pieces: list[bytes] = []
    while wanted > 0 and (piece := content.read(wanted)):
        pieces.append(piece)
        wanted -= len(piece)
    if wanted:
        raise TruncatedUpload(f"expected {wanted} more bytes of {what}, got the end of the file", field="chunk")
    return np.frombuffer(b"".join(pieces), dtype=dtype)

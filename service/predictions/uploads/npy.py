"""npy: an (N,) array of class indices, (N, K) top-K indices, or (N, C) scores. Pickles are refused."""

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from errata.errors import InvalidRow, InvalidUpload, TruncatedUpload, UnsupportedFormat, Violation
from errata.messages import pluralize
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from service.predictions.uploads.rows import MAX_INT64, MAX_VIOLATIONS, OrderedRows
from service.predictions.uploads.score_probabilities import ScoreProbabilities
from service.predictions.uploads.top_class import FIRST_COUNTS, NAN, NO_SCORES, check_distinct
from service.storage import Readable, parse_literal

MAX_HEADER = 10_000  # bytes, as in numpy
BLOCK_VALUES = 4_096_000  # 16 MB of float32 scores
LABEL = "The array"
BFLOAT16 = np.dtype("V2")  # numpy has no type bfloat16, and stores such values as this type
MAX_TOP = 100  # maximum number of classes of one row


Header = tuple[tuple[int, ...], np.dtype[Any], bool]


def recognizes(head: bytes) -> bool:
    """Return whether a file starts with the npy signature."""
    return head.startswith(npy_format.MAGIC_PREFIX)


def read(content: Readable, expected: tuple[int, int], classes: Sequence[int] | None) -> OrderedRows:
    """Return the class of each row: the first of several classes, or the class with the highest score.

    Args:
        content: The file.
        expected: Numbers of images and of classes of the data set, (N, C).
        classes: Classes of the data set; None: all.

    Raises:
        InvalidUpload: The array has another shape or type, or the file is damaged.
    """
    header = read_header(content, LABEL)
    if has_classes(header, expected):
        return read_class_rows(content, header, expected, LABEL)
    blocks = read_score_blocks(content, header, expected, LABEL)
    return collect_rows(blocks, best_class, classes)


def has_classes(header: Header, expected: tuple[int, int]) -> bool:
    """Return whether an array has classes instead of scores: one class, or the top K < C classes, for each row."""
    shape, dtype, _ = header
    return len(shape) == 1 or (len(shape) == 2 and dtype.kind in "iu" and 0 < shape[1] < min(expected[1], MAX_TOP))


def best_class(block: NDArray[np.float32], start: int) -> NDArray[np.int64]:
    """Return the class with the highest score for each row of a block, (n,)."""
    del start
    return np.asarray(block.argmax(axis=1), dtype=np.int64)


def read_header(content: Readable, label: str, allow_objects: bool = False) -> Header:
    """Return the shape, the type, and whether the array is in Fortran order; raise UnsupportedFormat for a pickle.

    `label` names the array in messages. With `allow_objects`, a pickle has a header like other arrays.
    """
    try:
        major, _ = npy_format.read_magic(content)
        width = content.read(2 if major == 1 else 4)
        size = int.from_bytes(width, "little")
        if size > MAX_HEADER:
            raise ValueError(f"a header of {size} bytes")
        read_array_header = npy_format.read_array_header_1_0 if major == 1 else npy_format.read_array_header_2_0
        header = width + content.read(size)
        shape, is_fortran, dtype = parse_literal(lambda: read_array_header(io.BytesIO(header)))
        if any(length.bit_length() > 63 for length in shape):  # Python refuses to print integers of many digits
            raise ValueError("a dimension over 2^63")
    except Exception as error:  # numpy parses the header as a Python literal, which can raise any error
        raise InvalidUpload(
            f"{label} has a damaged npy header. Save it again with numpy.save.", field="chunk"
        ) from error
    if dtype.hasobject and not allow_objects:
        raise UnsupportedFormat(
            f"{label} contains Python objects (a pickle), which Errata does not read because they can run code. Save "
            "integers or floats.",
            field="chunk",
        )
    return shape, dtype, is_fortran


def read_class_rows(content: Readable, header: Header, expected: tuple[int, int], label: str) -> OrderedRows:
    """Return the (N,) class indices of an (N,) array, or the first column of an (N, K) array.

    Unsigned values above the maximum of int64 become this maximum.
    """
    shape, dtype, is_fortran = header
    num_images, _ = expected
    if shape[:1] != (num_images,) or not has_classes(header, expected):
        raise _wrong_shape(label, shape, f"({num_images},)")
    if dtype.kind not in "iu":
        raise InvalidUpload(
            f"{label} has shape {shape} and type {dtype!s:.40}. Expected integer class indices. Convert them with "
            f"array.astype(numpy.int64), or save scores of shape {expected}.",
            field="chunk",
        )
    values = _read_exactly(content, int(np.prod(shape)), dtype, label)
    _expect_end(content, label)
    if len(shape) == 2:
        try:
            check_distinct((values[::num_images] if is_fortran else values[: shape[1]]).tolist())
        except ValueError as error:
            raise InvalidUpload(f"{label}, row 1: {error}", field="chunk") from error
        values = values[:num_images] if is_fortran else values[:: shape[1]]
    if dtype.kind == "u" and dtype.itemsize == 8:
        values = np.minimum(values, MAX_INT64)
    assumptions = (FIRST_COUNTS,) if len(shape) == 2 and shape[1] > 1 else ()
    return OrderedRows(np.asarray(values, dtype=np.int64), None, assumptions=assumptions)


def read_probabilities(content: Readable, header: Header, num_images: int, label: str) -> NDArray[np.float32] | None:
    """Return (N,) probabilities; None if the array does not have N floating-point numbers from 0 to 1.

    Args:
        content: The file after its header.
        header: The header.
        num_images: Number of images of the data set, N.
        label: Names the array in messages.

    Raises:
        InvalidUpload: The file is incomplete, or has bytes after the array.
    """
    shape, dtype, _ = header
    if shape != (num_images,) or not _has_floats(dtype):
        return None
    values = _to_floats(_read_exactly(content, num_images, dtype, label))
    _expect_end(content, label)
    return values.astype(np.float32) if ((values >= 0) & (values <= 1)).all() else None


def read_score_blocks(
    content: Readable, header: Header, expected: tuple[int, int], label: str
) -> Iterator[NDArray[np.float32]]:
    """Yield an (N, C) array of scores in blocks of rows.

    Raises:
        InvalidUpload: The array has another shape or type, or bytes follow it, which is known after the last block.
        InvalidRow: Rows have NaN, or no score.
    """
    _check_scores(header, expected, label)
    _, dtype, _ = header
    violations: list[Violation] = []
    count = 0
    num_images, num_classes = expected
    block_rows = max(1, BLOCK_VALUES // num_classes)
    for start in range(0, num_images, block_rows):
        rows = min(block_rows, num_images - start)
        block = _to_floats(_read_exactly(content, rows * num_classes, dtype, label).reshape(rows, num_classes))
        highest = block.max(axis=1)  # NaN if any score is NaN
        bad_rows = np.flatnonzero(np.isnan(highest) | np.isneginf(highest))
        if len(bad_rows):
            violations += [
                Violation("row", NAN if np.isnan(highest[row]) else NO_SCORES, int(start + row + 1), "row")
                for row in bad_rows[:MAX_VIOLATIONS]
            ]
            count += len(bad_rows)
            continue
        yield block
    _expect_end(content, label)
    if violations:
        more = f" (and {pluralize(count - 1, 'more row')})" if count > 1 else ""
        message = f"{label}, row {violations[0].line}: {violations[0].description}{more}"
        raise InvalidRow(message, violations=violations[:MAX_VIOLATIONS])


def collect_rows(
    blocks: Iterator[NDArray[np.float32]],
    choose: Callable[[NDArray[np.float32], int], NDArray[np.int64]],
    classes: Sequence[int] | None,
    is_logits: bool = False,
) -> OrderedRows:
    """Return the predictions for blocks of scores.

    Args:
        blocks: (n, C) scores.
        choose: Returns the class of each row of a block, (n,), given the block and the number of rows before it.
        classes: Classes of the data set; None: all.
        is_logits: Whether the scores are known to be logits.

    Returns:
        The class of each row; its probability, if the rows are probability distributions or logits; and the best class
            among the data set's classes, if the data set does not have all classes.
    """
    own = None if classes is None else np.array(classes, dtype=np.intp)
    top1, top1_restricted, start = [], [], 0
    probabilities = ScoreProbabilities(is_logits)
    for block in blocks:
        best = choose(block, start)
        top1.append(best)
        probabilities.add(block, best)
        if own is not None:
            top1_restricted.append(own[block[:, own].argmax(axis=1)])
        start += len(block)
    probability, assumptions = probabilities.finish()
    return OrderedRows(
        top1=np.concatenate(top1),
        probability=probability,
        top1_restricted=np.concatenate(top1_restricted) if top1_restricted else None,
        assumptions=assumptions,
    )


def _check_scores(header: Header, expected: tuple[int, int], label: str) -> None:
    """Raise InvalidUpload unless an array has the expected shape, floating-point numbers, and C order."""
    shape, dtype, is_fortran = header
    if shape == expected[:1]:
        raise InvalidUpload(
            f"{label} has shape {shape}. Expected {expected}, the scores of all classes. If it has one probability for "
            "each prediction, name it 'probability', and save the classes as 'top1'.",
            field="chunk",
        )
    if shape != expected:
        if len(shape) == 2 and shape[0] == expected[0]:
            raise InvalidUpload(
                f"{label} has shape {shape}. Expected {expected}, one column for each class of the data set. Save the "
                "scores of these classes, in the order of 'errata classes'.",
                field="chunk",
            )
        raise _wrong_shape(label, shape, str(expected))
    if not _has_floats(dtype):
        raise InvalidUpload(
            f"{label} has shape {shape} and type {dtype!s:.40}. Expected floating-point scores. Convert them with "
            "array.astype(numpy.float32).",
            field="chunk",
        )
    if is_fortran:
        raise InvalidUpload(
            f"{label} is stored in Fortran order. Expected C order. Save numpy.ascontiguousarray(array).", field="chunk"
        )


def _has_floats(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" or dtype == BFLOAT16


def _to_floats(values: NDArray[Any]) -> NDArray[Any]:
    """Return floating-point numbers of at least 32 bits, because sums in float16 are too inaccurate."""
    if values.dtype == BFLOAT16:  # a bfloat16 is the upper half of a float32
        return (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32) if values.dtype.itemsize < np.dtype(np.float32).itemsize else values


def _wrong_shape(label: str, shape: tuple[int, ...], expected: str) -> InvalidUpload:
    return InvalidUpload(
        f"{label} has shape {shape!s:.80}. Expected {expected}, one row for each image of the data set. Save all "
        "images, or choose another data set with --dataset.",
        field="chunk",
    )


def _read_exactly(content: Readable, count: int, dtype: np.dtype[Any], label: str) -> NDArray[Any]:
    remaining = count * dtype.itemsize
    pieces: list[bytes] = []
    while remaining > 0 and (piece := content.read(remaining)):
        pieces.append(piece)
        remaining -= len(piece)
    if remaining:
        raise TruncatedUpload(
            f"{label} is incomplete: {remaining:,} bytes are missing. Upload the complete file.", field="chunk"
        )
    return np.frombuffer(b"".join(pieces), dtype=dtype)


def _expect_end(content: Readable, label: str) -> None:
    """Raise InvalidUpload if more bytes follow the array, such as a second array that was saved into the same file."""
    if content.read(1):
        raise InvalidUpload(
            f"{label} is not the whole npy file: more bytes follow the array. Save one array per file.", field="chunk"
        )

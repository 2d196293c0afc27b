"""Uploaded predictions: one file a format, one table of them; what comes out is validated, in the data set's order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from errata.errors import InvalidUpload, UnsupportedFormat

from service.domain import Predictions, RowOrder
from service.predictions.uploads import csv, jsonl, npy, npz, parquet
from service.predictions.uploads.binary import ParseRequest, read_binary
from service.predictions.uploads.bounded_stream import BoundedStream
from service.predictions.uploads.compression import DecompressedStream, detect_codec
from service.predictions.uploads.rows import OrderedRows, Rows
from service.predictions.uploads.validation import Layout, place_named, place_ordered
from service.storage import Readable, spool

__all__ = ["FORMATS", "Format", "Layout", "Upload", "parse_upload"]

HEAD = 64  # bytes by which a format is recognized
PICKLE = b"\x80"  # no text in UTF-8 starts so
ROW_BYTES = 512  # of text that a row may have on average


@dataclass(frozen=True)
class Format:
    """One row of FORMATS."""

    name: str
    recognizes: Callable[[bytes], bool]
    read: Callable[[BoundedStream, int], Rows] | None  # of a text form, while it streams: content, images; None: binary


FORMATS = (
    Format("npz", npz.recognizes, None),
    Format("npy", npy.recognizes, None),
    Format("parquet", parquet.recognizes, None),
    Format("jsonl", jsonl.recognizes, jsonl.read),
    Format("csv", csv.recognizes, csv.read),
)


@dataclass(frozen=True)
class Upload:
    """A predictions file, read and found good."""

    predictions: Predictions
    format: str
    warnings: tuple[str, ...]
    reordered: Predictions | None = None  # rows without names, in the order that was not asked for


def parse_upload(
    content: Readable,
    layout: Layout,
    order: RowOrder,
    max_bytes: int,
    parse_binary: Callable[[ParseRequest, BinaryIO], Rows] = read_binary,
) -> Upload:
    """Read a file in any of the formats.

    Args:
        content: The file as it arrives.
        layout: The images of the data set.
        order: How rows without names stand (RowOrder.UNSPECIFIED: by path).
        max_bytes: Bound on the file as sent; it may unpack to twice as much.
        parse_binary: Parser of the binary formats; a service gives one that is sandboxed.

    Raises:
        InvalidUpload: The file cannot be used; with lines where single rows are wrong.
        TooLarge: The file exceeds a bound.
    """
    images = len(layout.names)
    max_text = min(2 * max_bytes, images * ROW_BYTES + (1 << 20))
    source = BoundedStream(content, max_bytes)
    head = source.peek(HEAD)
    if not head:
        raise InvalidUpload("expected a predictions file, got an empty one", field="chunk")
    if codec := detect_codec(head):
        source = BoundedStream(DecompressedStream(source, codec), max_text)
        head = source.peek(HEAD)
    if head.startswith(PICKLE):
        raise UnsupportedFormat("expected one of the upload formats, got a pickle, which is never read", field="chunk")
    result = next(format for format in FORMATS if format.recognizes(head))
    if result.read is not None:
        return _place(result.read(BoundedStream(source, max_text), images), result, layout, order)
    classes = None if layout.classes is None else tuple(layout.classes.nonzero()[0].tolist())
    request = ParseRequest(result.name, images, max_unpacked=2 * max_bytes, classes=classes)
    with spool(source, max_bytes) as file:
        return _place(parse_binary(request, file), result, layout, order)


def _place(rows: Rows, found: Format, layout: Layout, order: RowOrder) -> Upload:
    if isinstance(rows, OrderedRows):
        given, other = (RowOrder.PATH, RowOrder.FILE_NAME)
        if order is RowOrder.FILE_NAME:
            given, other = other, given
        placed = place_ordered(rows, layout, given)
        return Upload(placed, found.name, rows.warnings, reordered=place_ordered(rows, layout, other))
    return Upload(place_named(rows, layout), found.name, ())

"""Uploaded predictions: one file a format, one table of them; what comes out is validated, in the data set's order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from service.domain import Predictions, RowOrder
from service.errors import InvalidUpload, UnsupportedFormat
from service.predictions.uploads import csv, jsonl, npy, npz, parquet
from service.predictions.uploads.compression import Unpacked, codec_of
from service.predictions.uploads.rows import OrderedRows, Rows
from service.predictions.uploads.source import Source
from service.predictions.uploads.validate import Layout, place_named, place_ordered
from service.storage import Readable, spool

__all__ = ["FORMATS", "Format", "Layout", "Upload", "parse_upload"]

HEAD = 64  # bytes by which a format is recognized
PICKLE = b"\x80"  # no text in UTF-8 starts so
ROW_BYTES = 512  # of text that a row may have on average


@dataclass(frozen=True)
class Limits:
    """How much a file may hold, in bytes."""

    file: int  # as it was sent
    unpacked: int  # binary forms
    text: int  # text forms, unpacked


@dataclass(frozen=True)
class Format:
    """One row of FORMATS."""

    name: str
    recognizes: Callable[[bytes], bool]
    read: Callable[[Any, Layout, Limits], Rows]  # the content (seekable unless it is text), data set, limits
    text: bool  # read while it streams; others from a spool file


FORMATS = (
    Format(
        "npz", npz.recognizes, lambda content, layout, limits: npz.read(content, layout, limits.unpacked), text=False
    ),
    Format("npy", npy.recognizes, lambda content, layout, _: npy.read(content, layout), text=False),
    Format(
        "parquet",
        parquet.recognizes,
        lambda content, layout, limits: parquet.read(content, limits.unpacked, len(layout.names)),
        text=False,
    ),
    Format("jsonl", jsonl.recognizes, lambda content, *_: jsonl.read(content), text=True),
    Format("csv", csv.recognizes, lambda content, *_: csv.read(content), text=True),
)


@dataclass(frozen=True)
class Upload:
    """A predictions file, read and found good."""

    predictions: Predictions
    format: str
    warnings: tuple[str, ...]
    reordered: Predictions | None = None  # rows without names, in the order that was not asked for


def parse_upload(content: Readable, layout: Layout, order: RowOrder, max_bytes: int) -> Upload:
    """Read a file in any of the formats; raise InvalidUpload, with lines, or TooLarge.

    `order` says how rows without names stand (RowOrder.UNSPECIFIED: by path); `max_bytes` bounds the file as sent.
    """
    images = len(layout.names)
    limits = Limits(file=max_bytes, unpacked=2 * max_bytes, text=min(2 * max_bytes, images * ROW_BYTES + (1 << 20)))
    source = Source(content, limits.file)
    head = source.peek(HEAD)
    if not head:
        raise InvalidUpload("expected a predictions file, got an empty one", field="chunk")
    if codec := codec_of(head):
        source = Source(Unpacked(source, codec), limits.text)
        head = source.peek(HEAD)
    if head.startswith(PICKLE):
        raise UnsupportedFormat("expected one of the upload formats, got a pickle, which is never read", field="chunk")
    found = next(format for format in FORMATS if format.recognizes(head))
    if found.text:
        return _place(found.read(Source(source, limits.text), layout, limits), found, layout, order)
    with spool(source, limits.file) as file:
        return _place(found.read(file, layout, limits), found, layout, order)


def _place(rows: Rows, found: Format, layout: Layout, order: RowOrder) -> Upload:
    if isinstance(rows, OrderedRows):
        given, other = (RowOrder.PATH, RowOrder.FILE_NAME)
        if order is RowOrder.FILE_NAME:
            given, other = other, given
        placed = place_ordered(rows, layout, given)
        return Upload(placed, found.name, rows.warnings, reordered=place_ordered(rows, layout, other))
    return Upload(place_named(rows, layout), found.name, ())

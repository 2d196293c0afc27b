"""Uploaded predictions: one file a format, one table of them; what comes out is validated, in the data set's order."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from service.domain import Predictions, RowOrder
from service.errors import InvalidUpload, TooLarge
from service.predictions.uploads import csv, jsonl, npy, npz, parquet
from service.predictions.uploads.compression import Unpacked, is_compressed
from service.predictions.uploads.rows import OrderedRows, Rows
from service.predictions.uploads.validate import Layout, place_named, place_ordered
from service.storage import Readable, spool

__all__ = ["FORMATS", "Format", "Layout", "Upload", "parse_upload"]

HEAD = 64  # bytes by which a format is recognized
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
    read: Callable[[Any, int, Limits], Rows]  # the content (seekable unless it is text), number of images, limits
    text: bool  # read while it streams; others from a spool file


FORMATS = (
    Format(
        "npz", npz.recognizes, lambda content, images, limits: npz.read(content, images, limits.unpacked), text=False
    ),
    Format("npy", npy.recognizes, lambda content, images, _: npy.read(content, images), text=False),
    Format(
        "parquet", parquet.recognizes, lambda content, _, limits: parquet.read(content, limits.unpacked), text=False
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


def parse_upload(content: Readable, layout: Layout, order: RowOrder, max_bytes: int) -> Upload:
    """Read a file in any of the formats; raise InvalidUpload, with lines, or TooLarge.

    `order` says how rows without names stand (RowOrder.UNSPECIFIED: by path); `max_bytes` bounds the file as sent.
    """
    images = len(layout.names)
    limits = Limits(file=max_bytes, unpacked=2 * max_bytes, text=min(2 * max_bytes, images * ROW_BYTES + (1 << 20)))
    stream, head = _peek(_Bounded(content, limits.file))
    if not head:
        raise InvalidUpload("expected a predictions file, got an empty one", field="chunk")
    if is_compressed(head):
        stream, head = _peek(Unpacked(stream, head, limits.text))
    found = next(format for format in FORMATS if format.recognizes(head))
    if found.text:
        rows = found.read(_Bounded(stream, limits.text), images, limits)
        return _place(rows, found, layout, order)
    with spool(stream, limits.file) as file:
        return _place(found.read(file, images, limits), found, layout, order)


def _place(rows: Rows, found: Format, layout: Layout, order: RowOrder) -> Upload:
    if isinstance(rows, OrderedRows):
        order = RowOrder.PATH if order is RowOrder.UNSPECIFIED else order
        return Upload(place_ordered(rows, layout, order), found.name, rows.warnings)
    return Upload(place_named(rows, layout), found.name, ())


def _peek(content: Readable) -> tuple[BinaryIO, bytes]:
    """Return the stream and its first bytes, which it still holds."""
    buffered = io.BufferedReader(_Raw(content), buffer_size=1 << 16)
    return buffered, buffered.peek(HEAD)[:HEAD]  # type: ignore[return-value]


class _Raw(io.RawIOBase):
    """Anything with read(), as Python's buffered reader wants it."""

    def __init__(self, content: Readable) -> None:
        self._content = content

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        piece: bytes = self._content.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


class _Bounded:
    """A stream that raises TooLarge past its limit."""

    def __init__(self, content: Readable, limit: int) -> None:
        self._content = content
        self._limit = limit
        self._left = limit

    closed = False

    def read(self, size: int = -1) -> bytes:
        piece = self._content.read(size)
        self._left -= len(piece)
        if self._left < 0:
            raise TooLarge(f"expected at most {self._limit} bytes, got more", field="chunk")
        return piece

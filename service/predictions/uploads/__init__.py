"""Uploaded predictions: one module for each format, and one table that lists them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from errata.errors import InvalidUpload

from service.domain import LabelSpace, Predictions, RowOrder
from service.predictions.uploads import csv, json, jsonl, npy, npz, parquet
from service.predictions.uploads.binary import ParseRequest, read_binary
from service.predictions.uploads.bounded_stream import BoundedStream
from service.predictions.uploads.compression import DecompressedStream, detect_codec
from service.predictions.uploads.descriptions import SCORES_REMEDY
from service.predictions.uploads.other_formats import check_other_formats
from service.predictions.uploads.rows import OrderedRows, Rows
from service.predictions.uploads.terms import (
    CSV_TERMS,
    JSON_TERMS,
    JSONL_TERMS,
    NPY_TERMS,
    NPZ_TERMS,
    PARQUET_TERMS,
    FormatTerms,
    format_size,
)
from service.predictions.uploads.validation import Layout, place_named, place_ordered, row_orders
from service.storage import Readable, spool

__all__ = ["FORMATS", "Layout", "Upload", "parse_upload"]

HEAD_BYTES = jsonl.MAX_LINE  # enough to recognize a format
MAX_ROW_BYTES = 512  # average size of a text row
BY_PATH = "The rows are in the order --row-order path."


@dataclass(frozen=True)
class Format:
    """One row of FORMATS."""

    name: str
    terms: FormatTerms
    recognizes: Callable[[bytes], bool]
    # (content, number of images, classes) -> rows; None: a binary format
    read: Callable[[BoundedStream, int, LabelSpace], Rows] | None


FORMATS = (
    Format("npz", NPZ_TERMS, npz.recognizes, None),
    Format("npy", NPY_TERMS, npy.recognizes, None),
    Format("parquet", PARQUET_TERMS, parquet.recognizes, None),
    Format("json", JSON_TERMS, json.recognizes, json.read),
    Format("jsonl", JSONL_TERMS, jsonl.recognizes, jsonl.read),
    Format("csv", CSV_TERMS, csv.recognizes, csv.read),
)


@dataclass(frozen=True)
class Upload:
    """A predictions file that was read and validated."""

    predictions: Predictions
    format: str
    warnings: tuple[str, ...]
    assumptions: tuple[str, ...]  # what was assumed to read the file, one sentence each
    reordered: Predictions | None = None  # for a file without file names: its predictions in the other order
    has_class_names: bool = False  # whether classes have names or IDs instead of numbers


def parse_upload(
    content: Readable,
    layout: Layout,
    order: RowOrder,
    max_bytes: int,
    parse_binary: Callable[[ParseRequest, BinaryIO], Rows] = read_binary,
) -> Upload:
    """Read a predictions file in any of the formats.

    Args:
        content: Stream of the file.
        layout: Images of the data set.
        order: Order of the rows in a file without file names. RowOrder.UNSPECIFIED means by path.
        max_bytes: Maximum size of the file as sent. The decompressed text may have twice this size.
        parse_binary: Parser of the binary formats. A service passes a sandboxed parser.

    Raises:
        InvalidRequest: The request has a row order, but the file has file names.
        InvalidUpload: The file cannot be used. `violations` has the lines if single rows are wrong.
        TooLarge: The file exceeds a limit.
    """
    images = len(layout.names)
    max_text = min(2 * max_bytes, images * MAX_ROW_BYTES + (1 << 20))
    stream = BoundedStream(
        content,
        max_bytes,
        f"The file is larger than {format_size(max_bytes)}. Upload a smaller file, or ask the operator to raise "
        "ERRATA_MAX_UPLOAD_BYTES.",
    )
    text_too_large = (
        f"The text of the file is larger than {format_size(max_text)}, the limit for {images:,} images. Remove the "
        f"columns or keys that Errata does not read, and duplicate rows. {SCORES_REMEDY} If the file is for another "
        "data set, choose it with --dataset."
    )
    head = stream.peek(HEAD_BYTES)
    codec = detect_codec(head)
    if codec:
        stream = BoundedStream(DecompressedStream(stream, codec), max_text, text_too_large)
        head = stream.peek(HEAD_BYTES)
    if not head:
        raise InvalidUpload("The predictions file is empty. Upload a file with one row per image.", field="chunk")
    check_other_formats(head)
    format = next(format for format in FORMATS if format.recognizes(head))
    if format.read is not None:
        stream.limit(max_text, text_too_large)
        return _place_rows(format.read(stream, images, layout.label_space), format, layout, order)
    if codec:
        raise InvalidUpload(
            f"The file looks like {format.terms.label} in {codec}. Upload the {format.terms.label} file without "
            "compression.",
            field="chunk",
        )
    classes = None if layout.classes is None else tuple(layout.classes.nonzero()[0].tolist())
    request = ParseRequest(format.name, images, layout.label_space.num_classes, 2 * max_bytes, classes)
    with spool(stream, max_bytes) as file:
        return _place_rows(parse_binary(request, file), format, layout, order)


def _place_rows(rows: Rows, format: Format, layout: Layout, order: RowOrder) -> Upload:
    if isinstance(rows, OrderedRows):
        requested, other = row_orders(order)
        predictions = place_ordered(rows, layout, requested)
        assumptions = rows.assumptions if order is not RowOrder.UNSPECIFIED else (BY_PATH, *rows.assumptions)
        other_order = place_ordered(rows, layout, other)
        return Upload(predictions, format.name, rows.warnings, assumptions, other_order)
    predictions, assumptions, reordered, has_class_names = place_named(rows, layout, format.terms, order)
    return Upload(predictions, format.name, (), assumptions, reordered, has_class_names)

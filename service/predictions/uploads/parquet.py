"""Parquet with the columns of the CSV; its index stands last, so it is read from a seekable file."""

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from errata.errors import InvalidUpload, TooLarge, Violation
from numpy.typing import NDArray
from pyarrow import parquet

from service.predictions.uploads.columns import Columns, find_columns
from service.predictions.uploads.rows import NamedRows, check_row_count
from service.predictions.uploads.validation import SHOWN

BATCH = 8_192  # rows
MAX_TEXT = 1 << 10  # bytes of a name
MAX_COLUMNS = 10_000
MAX_ROW_GROUPS = 10_000
MAX_FOOTER = 4 << 20  # bytes
FOOTER_END = 8  # bytes: the footer's length, and the format's mark


def recognizes(head: bytes) -> bool:
    """Say whether a file starts like Parquet."""
    return head.startswith(b"PAR1")


def read(content: BinaryIO, limit: int, num_images: int) -> Iterator[NamedRows]:
    """Yield the rows; raise TooLarge where they unpack to more than `limit` bytes, or are far too many.

    pyarrow may crash on a damaged file, or take all memory: a service reads it in a sandboxed process.
    """
    try:
        _check_footer(content)
        metadata = parquet.read_metadata(content)
        check_row_count(metadata.num_rows, num_images)
        for count, most, what in (
            (metadata.num_columns, MAX_COLUMNS, "columns"),
            (metadata.num_row_groups, MAX_ROW_GROUPS, "row groups"),
        ):
            if count > most:
                raise TooLarge(f"expected at most {most} {what}, got {count}", field="chunk")
        schema = metadata.schema.to_arrow_schema()
        columns = find_columns(schema.names, line=None)
        _check_types(schema, columns)
        content.seek(0)
        file = parquet.ParquetFile(content, metadata=metadata)
        row, size = 1, 0
        for batch in file.iter_batches(batch_size=BATCH, columns=columns.names, use_threads=False):
            size += batch.nbytes
            if size > limit:
                raise TooLarge(f"expected at most {limit} bytes unpacked, got more", field="chunk")
            check_row_count(row + batch.num_rows - 1, num_images)
            yield _rows(batch, columns, np.arange(row, row + batch.num_rows))
            row += batch.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidUpload(f"expected Parquet, got {error!s:.200}", field="chunk") from error


def _check_footer(content: BinaryIO) -> None:
    """Raise TooLarge for a footer that is far larger than a table of predictions needs: Arrow unpacks it whole."""
    end = content.seek(0, 2)
    content.seek(max(0, end - FOOTER_END))
    length = int.from_bytes(content.read(4), "little")
    content.seek(0)
    if MAX_FOOTER < length <= end:
        raise TooLarge(f"expected a footer of at most {MAX_FOOTER} bytes, got {length}", field="chunk")


def _check_types(schema: pa.Schema, columns: Columns) -> None:
    """Raise InvalidUpload for a column of anything but text and numbers: Arrow would write it out for each row."""
    given = (columns.file_name, columns.predicted, columns.probability)
    for meaning, name in zip(("file_name", "predicted_class", "predicted_probability"), given, strict=True):
        if name is not None:
            kind = schema.field(name).type
            values = kind.value_type if pa.types.is_dictionary(kind) else kind
            if not (_is_text(values) or _is_binary(values) or pa.types.is_primitive(values)):
                raise InvalidUpload(f"expected {meaning} to be text or numbers, got {kind!s:.80}", field=meaning)


def _rows(batch: pa.RecordBatch, columns: Columns, lines: NDArray[np.int64]) -> NamedRows:
    wrong: list[Violation] = []
    given = np.ones(batch.num_rows, dtype=bool)
    for name in columns.names:
        missing = np.asarray(batch.column(name).is_null())
        wrong += [Violation(name, f"expected a value for {name}, got none", int(line)) for line in lines[missing]]
        given &= ~missing
    kept = batch.filter(pa.array(given))
    return NamedRows(
        names=_names(kept.column(columns.file_name)),
        classes=_plain(kept.column(columns.predicted)),
        probabilities=_plain(kept.column(columns.probability)) if columns.probability else None,
        lines=lines[given],
        wrong=tuple(sorted(wrong, key=lambda item: item.line or 0)[:SHOWN]),
        num_wrong=len(wrong),
    )


def _names(column: pa.Array) -> pa.Array:
    column = _plain(column)
    if not (_is_text(column.type) or _is_binary(column.type)):
        raise InvalidUpload(f"expected file_name to be text, got {column.type}", field="file_name")
    return column.cast(pa.binary())


def _plain(column: pa.Array) -> pa.Array:
    """Return the values themselves; raise TooLarge for text that is too long, ArrowInvalid if it is no UTF-8."""
    values = column.dictionary if pa.types.is_dictionary(column.type) else column
    if _is_text(values.type) or _is_binary(values.type):
        values.validate(full=True)
        if (pa.compute.max(pa.compute.binary_length(values)).as_py() or 0) > MAX_TEXT:
            raise TooLarge(f"expected values of at most {MAX_TEXT} bytes, got longer ones", field="chunk")
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

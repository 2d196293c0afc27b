"""Parquet with the columns of the CSV; its index stands last, so it is read from a seekable file."""

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from service.errors import InvalidUpload, TooLarge
from service.predictions.uploads.columns import find_columns
from service.predictions.uploads.rows import NamedRows

BATCH = 65_536  # rows


def recognizes(head: bytes) -> bool:
    """Say whether a file starts like Parquet."""
    return head.startswith(b"PAR1")


def read(content: BinaryIO, limit: int) -> Iterator[NamedRows]:
    """Yield the rows; raise TooLarge where the needed columns would unpack to more than `limit` bytes."""
    try:
        file = parquet.ParquetFile(content)
        columns = find_columns(file.schema_arrow.names, line=None)
        _check_size(file, columns.names, limit)
        row = 1
        for batch in file.iter_batches(batch_size=BATCH, columns=columns.names):
            yield NamedRows(
                names=_names(batch.column(columns.file_name)),
                classes=_plain(batch.column(columns.predicted), columns.predicted),
                probabilities=_plain(batch.column(columns.probability), columns.probability)
                if columns.probability
                else None,
                lines=np.arange(row, row + batch.num_rows),
            )
            row += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise InvalidUpload(f"expected Parquet, got {error!s:.200}", field="chunk") from error


def _check_size(file: parquet.ParquetFile, names: list[str], limit: int) -> None:
    metadata = file.metadata
    size = 0
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for place in range(row_group.num_columns):
            column = row_group.column(place)
            if column.path_in_schema in names:
                size += column.total_uncompressed_size
    if size > limit:
        raise TooLarge(f"expected columns of at most {limit} bytes unpacked, got {size}", field="chunk")


def _names(column: pa.Array) -> pa.Array:
    column = _plain(column, "file_name")
    if not (
        pa.types.is_string(column.type) or pa.types.is_binary(column.type) or pa.types.is_large_string(column.type)
    ):
        raise InvalidUpload(f"expected file_name to be text, got {column.type}", field="file_name")
    return column.cast(pa.binary())


def _plain(column: pa.Array, name: str) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.null_count:
        raise InvalidUpload(f"expected a value in every row of {name}, got {column.null_count} without", field=name)
    return column

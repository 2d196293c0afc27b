"""Hostile Parquet files. Each function writes one file."""

from typing import BinaryIO

import pyarrow as pa
from pyarrow import parquet
from security.parquet_writer import (
    Chunk,
    Elements,
    Repetition,
    Type,
    data_page,
    dictionary_page,
    file_metadata,
    group,
    leaf,
    one_run,
    plain_number,
    plain_text,
    row_group,
    two_columns,
    write_parquet,
)
from security.thrift import repeated

NO_ROW_GROUPS = Elements(0, [])
WRITER_BYTES = 16 << 20  # that delta_columns hands to Arrow at once


def nested_groups(file: BinaryIO, depth: int) -> None:
    """Write a schema of one column below `depth` groups: Arrow 25 recurses until its stack overflows."""
    inner, column = group(b"g", 1, Repetition.OPTIONAL), leaf(b"x", Type.BYTE_ARRAY, Repetition.OPTIONAL)
    schema = Elements(depth + 2, [group(b"schema", 1), *repeated(inner, depth), column])
    write_parquet(file, b"", file_metadata(schema, NO_ROW_GROUPS, 0))


def wide_schema(file: BinaryIO, columns: int) -> None:
    """Write a schema of `file_name`, `top1` and many other columns."""
    _, *known = two_columns().pieces
    others = [leaf(b"c%d" % number, Type.INT32) for number in range(columns)]
    elements = [group(b"schema", len(known) + columns), *known, *others]
    write_parquet(file, b"", file_metadata(Elements(len(elements), elements), NO_ROW_GROUPS, 0))


def deep_and_wide_schema(file: BinaryIO, depth: int, columns: int) -> None:
    """Write a schema of many columns below many groups: a reader that stores each path needs their product."""
    inner, deepest = group(b"g", 1, Repetition.OPTIONAL), group(b"g", columns, Repetition.OPTIONAL)
    column = leaf(b"x", Type.INT32, Repetition.OPTIONAL)
    pieces = [group(b"schema", 1), *repeated(inner, depth - 1), deepest, *repeated(column, columns)]
    write_parquet(file, b"", file_metadata(Elements(depth + columns + 1, pieces), NO_ROW_GROUPS, 0))


def endless_rows(file: BinaryIO, row_groups: int, rows: int) -> None:
    """Write row groups that share two pages of one run each, under a footer that states 10 rows."""
    body, chunks = b"", []
    columns = (
        (b"file_name", Type.BYTE_ARRAY, plain_text(b"ILSVRC2012_val_00000001.JPEG")),
        (b"top1", Type.INT64, plain_number(1)),
    )
    for path, type, value in columns:
        start = 4 + len(body)
        body += dictionary_page(value, 1)
        data = 4 + len(body)
        body += data_page(one_run(rows), rows)
        chunks.append(Chunk(path, type, rows, data, start, 4 + len(body) - start))
    groups = Elements(row_groups, repeated(row_group(chunks, rows), row_groups))
    write_parquet(file, body, file_metadata(two_columns(), groups, 10))


def many_row_groups(file: BinaryIO, row_groups: int, chunks: int) -> None:
    """Write empty row groups of `chunks` column chunks each, whatever the schema says."""
    element = row_group([Chunk(b"a", Type.INT32, 0)] * chunks, 0)
    groups = Elements(row_groups, repeated(element, row_groups))
    write_parquet(file, b"", file_metadata(two_columns(Type.INT32), groups, 0))


def delta_column(file: BinaryIO, column: str, size: int, rows: int) -> None:
    """Write a column in DELTA_BYTE_ARRAY, in which each row repeats the value before it in a few bits.

    Args:
        file: Where to write.
        column: `file_name` or `top1`; the other one is small.
        size: Bytes of the value.
        rows: Rows that have it.
    """
    values = {"file_name": "x", "top1": "1"} | {column: "x" * size}
    schema = pa.schema([(name, pa.string()) for name in values])
    writer = parquet.ParquetWriter(
        file,
        schema,
        compression="zstd",
        use_dictionary=False,
        write_statistics=False,
        column_encoding=dict.fromkeys(values, "DELTA_BYTE_ARRAY"),
        store_schema=False,
        data_page_size=1 << 30,
        max_rows_per_page=1 << 30,
    )
    with writer:
        at_once = max(1, WRITER_BYTES // size)
        for start in range(0, rows, at_once):
            count = min(at_once, rows - start)
            batch = pa.record_batch([pa.array([value] * count) for value in values.values()], schema=schema)
            writer.write_batch(batch, row_group_size=1 << 20)

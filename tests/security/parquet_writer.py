"""A writer of Parquet files from parts that may be inconsistent.

The structures and the numbers of their fields are those of parquet.thrift in apache/parquet-format.
"""

import struct as standard_struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import BinaryIO

from security.thrift import Kind, Value, array, binary, i32, i64, streamed_array, struct, varint

MAGIC = b"PAR1"
PLAIN, RLE, RLE_DICTIONARY = 0, 3, 8  # encodings
UNCOMPRESSED = 0  # codec


class Type(IntEnum):
    """The physical type of a column."""

    BOOLEAN = 0
    INT32 = 1
    INT64 = 2
    INT96 = 3
    FLOAT = 4
    DOUBLE = 5
    BYTE_ARRAY = 6
    FIXED_LEN_BYTE_ARRAY = 7


class Repetition(IntEnum):
    """Whether a value is required, optional, or repeated."""

    REQUIRED = 0
    OPTIONAL = 1
    REPEATED = 2


@dataclass(frozen=True)
class Elements:
    """A list of encoded structures: its stated length, and its bytes in pieces."""

    count: int
    pieces: Iterable[bytes]


@dataclass(frozen=True)
class Chunk:
    """The position of a column chunk, as stated in the footer."""

    path: bytes
    type: Type
    num_values: int
    data_page: int = 4  # offset of the first data page
    dictionary_page: int | None = None  # offset
    size: int = 0  # bytes of all pages


def group(name: bytes, children: int, repetition: Repetition | None = None) -> bytes:
    """Encode a group of the next `children` schema elements. The root has no repetition."""
    own = {} if repetition is None else {3: i32(repetition)}
    return struct(own | {4: binary(name), 5: i32(children)}).content()


def leaf(name: bytes, type: Type, repetition: Repetition = Repetition.REQUIRED) -> bytes:
    """Encode a schema element of a column."""
    return struct({1: i32(type), 3: i32(repetition), 4: binary(name)}).content()


def two_columns(top1: Type = Type.INT64) -> Elements:
    """Return the schema of an upload: `file_name` and `top1`."""
    elements = [group(b"schema", 2), leaf(b"file_name", Type.BYTE_ARRAY), leaf(b"top1", top1)]
    return Elements(len(elements), elements)


def column_chunk(chunk: Chunk) -> Value:
    """Encode a ColumnChunk with its ColumnMetaData."""
    metadata = {
        1: i32(chunk.type),
        2: array([i32(PLAIN), i32(RLE_DICTIONARY)]),
        3: array([binary(chunk.path)]),
        4: i32(UNCOMPRESSED),
        5: i64(chunk.num_values),
        6: i64(chunk.size),
        7: i64(chunk.size),
        9: i64(chunk.data_page),
    }
    if chunk.dictionary_page is not None:
        metadata[11] = i64(chunk.dictionary_page)
    return struct({2: i64(chunk.data_page), 3: struct(metadata)})


def row_group(chunks: Sequence[Chunk], num_rows: int) -> bytes:
    """Encode a RowGroup."""
    columns = array([column_chunk(chunk) for chunk in chunks])
    return struct({1: columns, 2: i64(sum(chunk.size for chunk in chunks)), 3: i64(num_rows)}).content()


def file_metadata(schema: Elements, row_groups: Elements, num_rows: int) -> Value:
    """Encode a FileMetaData, piece by piece."""
    return struct(
        {
            1: i32(1),
            2: streamed_array(Kind.STRUCT, schema.count, schema.pieces),
            3: i64(num_rows),
            4: streamed_array(Kind.STRUCT, row_groups.count, row_groups.pieces),
        }
    )


def dictionary_page(values: bytes, count: int) -> bytes:
    """Return a page of the values that data pages refer to."""
    header = {1: i32(2), 2: i32(len(values)), 3: i32(len(values)), 7: struct({1: i32(count), 2: i32(PLAIN)})}
    return struct(header).content() + values


def data_page(values: bytes, count: int) -> bytes:
    """Return a page of `count` references to a dictionary."""
    details = struct({1: i32(count), 2: i32(RLE_DICTIONARY), 3: i32(RLE), 4: i32(RLE)})
    header = {1: i32(0), 2: i32(len(values)), 3: i32(len(values)), 5: details}
    return struct(header).content() + values


def one_run(count: int) -> bytes:
    """Return `count` references to the first value of a dictionary, as one run of one bit each."""
    return b"\x01" + varint(count << 1) + b"\0"


def plain_text(value: bytes) -> bytes:
    """Return a BYTE_ARRAY value in the plain encoding."""
    return standard_struct.pack("<I", len(value)) + value


def plain_number(value: int) -> bytes:
    """Return an INT64 value in the plain encoding."""
    return standard_struct.pack("<q", value)


def write_parquet(file: BinaryIO, body: bytes, footer: Value) -> None:
    """Write a file: its pages, which begin at offset 4, and its footer with its real length."""
    file.write(MAGIC + body)
    length = sum(file.write(piece) for piece in footer.pieces)
    file.write(length.to_bytes(4, "little") + MAGIC)

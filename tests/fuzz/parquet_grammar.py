"""A grammar of Parquet files: pages and a footer as writers make them, with wrong values in any structure.

Field numbers are those of parquet.thrift in apache/parquet-format.
"""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st
from security.parquet_writer import MAGIC, PLAIN, RLE, RLE_DICTIONARY, Repetition, Type, plain_number, plain_text
from security.thrift import Kind, varint

from .parser import NAMES
from .thrift_trees import Fields, Items, Number, Text, Tree, encode, fields, i32, lying

SCHEMA, ROW_GROUPS = 2, 4  # fields of the footer
DATA, DICTIONARY, DATA_V2 = 0, 2, 3  # page types
CODECS = {0: None, 1: "snappy", 2: "gzip", 6: "zstd"}
CLASSES = tuple(range(100, 112))
FORMS = ("plain", "dictionary", "v2")


@dataclass(frozen=True)
class Column:
    """A column and its values in the plain encoding."""

    name: bytes
    type: Type
    values: tuple[bytes, ...]


COLUMNS = (
    Column(b"file_name", Type.BYTE_ARRAY, tuple(plain_text(name.encode()) for name in NAMES)),
    Column(b"top1", Type.INT64, tuple(plain_number(number) for number in CLASSES)),
)


@dataclass(frozen=True)
class Shape:
    """How a file is laid out."""

    form: str
    codec: int
    rows: tuple[int, ...]  # of each row group


SHAPES = st.builds(
    Shape,
    form=st.sampled_from(FORMS),
    codec=st.sampled_from(sorted(CODECS)),
    rows=st.sampled_from([(12,), (6, 6), (1, 4, 7)]),
)


def pages(column: Column, values: tuple[bytes, ...], shape: Shape) -> list[tuple[Fields, bytes]]:
    """Return the pages of a column chunk: header and content."""
    count = i32(len(values))
    if shape.form == "plain":
        details = fields({1: count, 2: i32(PLAIN), 3: i32(RLE), 4: i32(RLE), 5: statistics(values)})
        return [_page(DATA, 5, details, b"".join(values), shape.codec)]
    if shape.form == "v2":
        numbers: list[Tree] = [count, i32(0), count, i32(PLAIN), i32(0), i32(0)]
        details = fields(dict(enumerate([*numbers, Number(1, Kind.TRUE if shape.codec else Kind.FALSE)], start=1)))
        return [_page(DATA_V2, 8, details, b"".join(values), shape.codec)]
    indices = b"\x04" + b"".join(varint(1 << 1) + bytes([index]) for index in range(len(values)))
    known = fields({1: count, 2: i32(PLAIN), 3: Number(0, Kind.FALSE)})
    details = fields({1: count, 2: i32(RLE_DICTIONARY), 3: i32(RLE), 4: i32(RLE)})
    return [
        _page(DICTIONARY, 7, known, b"".join(values), shape.codec),
        _page(DATA, 5, details, indices, shape.codec),
    ]


def statistics(values: tuple[bytes, ...]) -> Fields:
    """Return the Statistics of a page or a chunk."""
    return fields({3: Number(0), 4: Number(len(values)), 5: Text(values[-1]), 6: Text(values[0])})


def footer(shape: Shape, groups: list[Items]) -> Fields:
    """Return the FileMetaData of a file whose row groups have these column chunks."""
    schema: list[Tree] = [fields({4: Text(b"schema"), 5: i32(len(COLUMNS))})]
    for column in COLUMNS:
        element: dict[int, Tree] = {1: i32(column.type), 3: i32(Repetition.REQUIRED), 4: Text(column.name)}
        if column.type is Type.BYTE_ARRAY:
            element |= {6: i32(0), 10: fields({1: Fields()})}
        schema.append(Fields(list(element.items())))
    row_groups: list[Tree] = [
        fields({1: chunks, 2: Number(1000), 3: Number(rows), 5: Number(4), 6: Number(1000), 7: Number(place, Kind.I16)})
        for place, (chunks, rows) in enumerate(zip(groups, shape.rows, strict=True))
    ]
    pair = fields({1: Text(b"key"), 2: Text(b"value")})
    orders: list[Tree] = [fields({1: Fields()}) for _ in COLUMNS]
    return fields(
        {
            1: i32(2),
            2: Items(schema),
            3: Number(sum(shape.rows)),
            4: Items(row_groups),
            5: Items([pair]),
            6: Text(b"errata tests"),
            7: Items(orders),
        }
    )


@st.composite
def parquet_files(draw: st.DrawFn, page_lies: int = 3, footer_lies: int = 4, within: int | None = None) -> bytes:
    """Return a file that lies.

    Args:
        draw: Draws from strategies.
        page_lies: Changes at most in a page header that lies; one in four does.
        footer_lies: Changes at most in the footer.
        within: The field of the footer in which they are; None for all of them.
    """
    shape = draw(SHAPES)
    body, groups, start = bytearray(MAGIC), [], 0
    for rows in shape.rows:
        chunks: list[Tree] = []
        for column in COLUMNS:
            values = column.values[start : start + rows]
            offsets = []
            first = len(body)
            for header, content in pages(column, values, shape):
                offsets.append(len(body))
                lies = page_lies if draw(st.integers(0, 3)) == 0 else 0  # most pages are read, so that others are
                body += encode(draw(lying(header, lies))).content() + content
            chunks.append(_chunk(column, values, shape, offsets, len(body) - first))
        groups.append(Items(chunks))
        start += rows
    content = encode(draw(lying(footer(shape, groups), footer_lies, within))).content()
    return bytes(body) + content + len(content).to_bytes(4, "little") + MAGIC


def _page(type: int, number: int, details: Fields, content: bytes, codec: int) -> tuple[Fields, bytes]:
    name: Any = CODECS[codec]
    packed = pa.Codec(name).compress(content, asbytes=True) if name else content
    return fields({1: i32(type), 2: i32(len(content)), 3: i32(len(packed)), number: details}), packed


def _chunk(column: Column, values: tuple[bytes, ...], shape: Shape, offsets: list[int], size: int) -> Fields:
    encodings: list[Tree] = [i32(PLAIN), i32(RLE), i32(RLE_DICTIONARY)]
    metadata: dict[int, Tree] = {
        1: i32(column.type),
        2: Items(encodings),
        3: Items([Text(column.name)]),
        4: i32(shape.codec),
        5: Number(len(values)),
        6: Number(size),
        7: Number(size),
        9: Number(offsets[-1]),
    }
    if len(offsets) > 1:
        metadata[11] = Number(offsets[0])
    metadata[12] = statistics(values)
    return fields({2: Number(offsets[0]), 3: Fields(list(metadata.items()))})

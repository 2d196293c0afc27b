"""Predictions files: valid files of every format, and strategies for damaged and almost valid files."""

import bz2
import csv
import gzip
import io
import json
import lzma
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import zstandard
from hypothesis import strategies as st
from pyarrow import parquet

from .parser import NAMES

MIB = 1 << 20


# -- writers that are independent of the service


def as_csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue().encode()


def as_jsonl(header: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    return "".join(json.dumps(dict(zip(header, row, strict=True))) + "\n" for row in rows).encode()


def as_parquet(columns: dict[str, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file, **options)
    return file.getvalue()


def as_npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(array))
    return file.getvalue()


def as_zip(members: Sequence[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", method) as archive:
        warnings.simplefilter("ignore")  # of zipfile, about names that come twice
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def npy_head(text: str, version: int = 1, length: int | None = None) -> bytes:
    """Return the start of an npy file with any header text and any stated length."""
    header = text.encode() + b"\n"
    size = len(header) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + size.to_bytes(2 if version == 1 else 4, "little") + header


def zstd(content: bytes) -> bytes:
    return zstandard.compress(content)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": lambda content: gzip.compress(content, 1),
    "zstd": zstd,
    "gzip twice": lambda content: gzip.compress(gzip.compress(content, 1), 1),
    "zstd in gzip": lambda content: gzip.compress(zstd(content), 1),
    "two members": lambda content: gzip.compress(content[: len(content) // 2]) + gzip.compress(content[50:]),
    "zlib": zlib.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}

TWELVE = list(range(100, 112))
HEADER = ("file_name", "predicted_class", "predicted_probability")
ROWS = [(name, number, 0.5) for name, number in zip(NAMES, TWELVE, strict=True)]
SCORES = np.full((12, 1000), 0.0005, dtype=np.float32) + np.eye(12, 1000, dtype=np.float32) / 2
COLUMNS = dict(zip(HEADER, zip(*ROWS, strict=True), strict=True))
GOOD: dict[str, bytes] = {
    "csv": as_csv(HEADER, ROWS),
    "jsonl": as_jsonl(HEADER, ROWS),
    "npy": as_npy(TWELVE),
    "scores": as_npy(SCORES[:, :1000].astype(np.float16)),
    "npz": as_zip([("top1.npy", as_npy(TWELVE)), ("probs.npy", as_npy(SCORES))]),
    "npz, stored": as_zip([("top1.npy", as_npy(TWELVE))], zipfile.ZIP_STORED),
    "npz, bzip2": as_zip([("top1.npy", as_npy(TWELVE))], zipfile.ZIP_BZIP2),
    "npz, lzma": as_zip([("top1.npy", as_npy(TWELVE))], zipfile.ZIP_LZMA),
    "parquet": as_parquet(COLUMNS),
    "parquet, text": as_parquet({"file_name": NAMES, "top1": ["tench", "5"] * 6}, compression="zstd"),
    "parquet, pages": as_parquet(COLUMNS, data_page_version="2.0", row_group_size=5, use_dictionary=False),
    "csv.gz": gzip.compress(as_csv(HEADER, ROWS)),
    "csv.zst": zstd(as_csv(HEADER, ROWS)),
    "jsonl.gz": gzip.compress(as_jsonl(HEADER, ROWS)),
}


# -- damage


@st.composite
def damaged(draw: st.DrawFn, content: bytes, max_changes: int = 8) -> bytes:
    """Return a file with bytes changed, cut, dropped, doubled, or copied from another file."""
    changed = bytearray(content)
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3, max_changes]))):
        if not changed:
            break
        place = draw(st.integers(0, len(changed) - 1))
        change = draw(st.sampled_from(["set", "flip", "drop", "double", "splice", "number", "cut"]))
        if change == "set":
            changed[place] = draw(st.integers(0, 255))
        elif change == "flip":
            changed[place] ^= 1 << draw(st.integers(0, 7))
        elif change == "drop":
            del changed[place : place + draw(st.integers(1, 60))]
        elif change == "double":
            changed[place:place] = changed[place : place + draw(st.integers(1, 200))]
        elif change == "splice":
            other = GOOD[draw(st.sampled_from(sorted(GOOD)))]
            start = draw(st.integers(0, len(other) - 1))
            changed[place:place] = other[start : start + draw(st.integers(1, 200))]
        elif change == "number":  # huge, negative, or too large for its width
            wide = draw(st.sampled_from([b"\xff" * 2, b"\xff" * 4, b"\xff" * 8, b"\x80" * 9 + b"\x01", b"\0" * 4]))
            changed[place : place + len(wide)] = wide
        else:
            del changed[place:]
    return bytes(changed)


# -- text


def mostly(usual: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return usual values, and unusual ones in one of twelve draws."""
    return st.integers(0, 11).flatmap(lambda number: odd if number == 0 else usual)


IMAGES = mostly(st.permutations(NAMES), st.lists(st.sampled_from(NAMES), max_size=14))
GOOD_CLASSES = st.integers(0, 999).map(str) | st.sampled_from(["tench", "n01440764", "Granny Smith"])
CELLS = st.sampled_from(
    [
        *("", " ", '"', '""', '"a"b', "'", ",", ",,", ";", "\t", "\\", "\\N", "NULL", "null", "#", "\0", "\ufeff"),
        "\ufffd",
        *("nan", "NaN", "-nan", "inf", "-inf", "Infinity", "1e999", "-1e-999", "1e5", ".5", "0.5.", "1_0", "0x1F"),
        "0b1",
        *("-0", "+1", "00007", "1000", "-1", "2147483648", "9" * 19, "9" * 400, "9" * 5000, "1.0", "٣", "²", "Ⅷ", "１"),
        *("tench", "TENCH", " tench ", "crane", "n01440764", "N01440764", "n00000000", "Egyptian_cat", "ẞ", "İ"),
        "\u2028",
        *NAMES[:3],
        *(f"n01440764/{NAMES[0]}", f"../{NAMES[0]}", f"{NAMES[0]} ", NAMES[0].lower()),
    ]
) | st.text(max_size=12)
FIELDS = st.sampled_from(
    [
        *("file_name", "predicted_class", "predicted_probability", "top1", "prediction", "probability", "file_name "),
        *("File_Name", '"file_name"', "", " ", "note", "\ufefffile_name", "file_name\0", "top5", "__index__", "\x1c"),
        "\x85",
    ]
) | st.text(max_size=8)
CHANCES = st.floats(0, 1).map(str)
ENDS = st.sampled_from(["\n", "\n", "\n", "\r\n", "\r", "", "\n\n", "\0", "\x0b", "\x1e", "\u2028"])


@st.composite
def csv_like(draw: st.DrawFn) -> bytes:
    """Return an almost valid CSV file, with unusual fields, cells, quotes, line ends, or bytes."""
    usual = ["file_name", "predicted_class", *draw(st.sampled_from([[], ["predicted_probability"], ["note"]]))]
    header = draw(mostly(st.just(usual), st.permutations(usual) | st.lists(FIELDS, max_size=6)))
    comma = draw(mostly(st.just(","), st.sampled_from([";", "\t", "|", " ", ", "])))
    cell, end = mostly(GOOD_CLASSES, CELLS), draw(mostly(st.just(st.sampled_from(["\n", "\r\n"])), st.just(ENDS)))
    lines = [comma.join(header)]
    for image in draw(IMAGES):
        cells = [draw(mostly(st.just(image), CELLS)), draw(cell), *(draw(cell | CHANCES) for _ in usual[2:])]
        cells = draw(mostly(st.just(cells), st.just(cells[:1]) | st.just([*cells, "x"])))
        quoted = draw(mostly(st.just(False), st.just(True)))
        lines.append(comma.join(f'"{item}"' if quoted else item for item in cells))
    text = "".join(line + draw(end) for line in lines)
    encoding = draw(mostly(st.just("utf-8"), st.sampled_from(["utf-8-sig", "utf-16", "latin-1", "cp437"])))
    tails = st.sampled_from([b"\xff", b"\xc3", b"\xed\xa0\x80", b'"', b"\x1a"])
    tail: bytes = draw(mostly(st.just(b""), tails))
    return text.encode(encoding, "replace") + tail


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**18, 10**19, -(2**63), 10**400, 0.5, 1e308, -0.0, 3.0])
    | st.floats()
    | CELLS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=3),
    max_leaves=6,
)
RAW = st.sampled_from(
    [
        *('"\\ud800"', '"\\udc00"', '"\\ud83d\\ude00"', '"\\u0000"', '"\\x"', "'a'", "1e400", "-", "01", "1."),
        "9" * 5000,
        *("[" * 800, "[" * 990 + "]" * 990, '{"a":' * 400, "{", "}", "tru", "NaN", "-Infinity", "undefined", '"\n"'),
        '"\t"',
    ]
)


@st.composite
def json_like(draw: st.DrawFn) -> bytes:
    """Return lines that are almost valid JSON objects."""
    keys = ["file_name", "top1", *draw(st.sampled_from([[], ["probability"]]))]
    odd, extra = JSON.map(json.dumps) | RAW, draw(mostly(st.just(None), FIELDS))
    kind = draw(st.sampled_from([st.integers(0, 999).map(str), GOOD_CLASSES.map(json.dumps)]))
    brace = mostly(st.just("}"), st.sampled_from(["} ", "},", "]", ""]))
    end = draw(mostly(st.just(st.just("\n")), st.just(ENDS)))
    lines = []
    for image in draw(IMAGES):
        values = [draw(mostly(st.just(json.dumps(image)), odd)), draw(mostly(kind, odd))]
        values += [draw(mostly(CHANCES, odd)) for _ in keys[2:]]
        pairs = [f"{json.dumps(key)}: {value}" for key, value in zip(keys, values, strict=True)]
        if extra is not None:
            pairs.insert(draw(st.integers(0, len(pairs))), f"{json.dumps(extra)}: {draw(odd)}")
        lines.append("{" + ", ".join(pairs) + draw(brace) + draw(end))
    encoding = draw(mostly(st.just("utf-8"), st.sampled_from(["utf-8-sig", "utf-16", "latin-1"])))
    content = "".join(lines).encode(encoding, "replace")
    result: bytes = draw(mostly(st.just(content), damaged(content or b"{")))
    return result


# -- arrays

DESCRIPTIONS = st.sampled_from(
    [
        *("'<i8'", "'>i2'", "'|u1'", "'<u8'", "'<f4'", "'<f2'", "'>f8'", "'<f16'", "'<c8'", "'|b1'", "'|O'", "'|O8'"),
        "'<U4'",
        *("'|S0'", "'|V8'", "'<M8[s]'", "'<m8'", "'<f3'", "'f'", "''", "None", "5", "[('a', '<i8')]", "[('a', '|O')]"),
        *("('<i8', (2,))", "('<f4', (0,))", "('|O', (1,))", "[('a', '<i8', (2**40,))]"),
        "{'names': ['a'], 'formats': ['O']}",
        *("'<i8', 'x'", "[]", "[('', '')]", "'<U1000000000'", "'|V2147483647'", "b'<i8'", "'i8,i8'", "'O'", "'object'"),
    ]
)
SHAPES = st.sampled_from(
    [
        *("(12,)", "(12, 1000)", "(12, 1)", "(12, 1000, 1)", "()", "(0,)", "(0, 1000)", "(-12,)", "(12.0,)"),
        *("(True,)", "12"),
        *("[12]", "None", "(2**62, 1000)", "(2**64,)", "(10**4000,)", "(0x" + "f" * 5000 + ",)", "('12',)"),
        "(12,) * 50",
        "(" + "1," * 200 + ")",
    ]
)
ORDERS = st.sampled_from(["False", "False", "True", "0", "1", "None", "'C'", "x"])


FORM = "{{'descr': {}, 'fortran_order': {}, 'shape': {}, }}"
HEADS = ["", "{}", "{", "1" * 5000, "(" * 9000, "-" * 9000, "lambda: 0", "f''", "{'descr': '<i8', 'shape': (12,)}"]
ARRAYS = [
    ("'<i8'", "(12,)", 96),
    ("'|u1'", "(12,)", 12),
    ("'<f4'", "(12, 1000)", 48_000),
    ("'<f2'", "(12, 1000)", 24_000),
]


@st.composite
def npy_like(draw: st.DrawFn) -> bytes:
    """Return an npy file with an almost valid header and any data."""
    kind, shape, size = draw(st.sampled_from(ARRAYS))
    kind, shape = draw(mostly(st.just(kind), DESCRIPTIONS)), draw(mostly(st.just(shape), SHAPES))
    text = FORM.format(kind, draw(mostly(st.just("False"), ORDERS)), shape) + " " * draw(st.integers(0, 64))
    text = draw(mostly(st.just(text), st.sampled_from(HEADS)))
    length = draw(mostly(st.none(), st.sampled_from([0, 1, 65535, 10_000, 10_001])))
    head = npy_head(text, draw(mostly(st.just(1), st.sampled_from([2, 3, 0, 9]))), length)
    filling = draw(st.sampled_from([b"\0", b"\xff", b"\x7f\x80", b"\x01", b"\0\0\xc0\x7f", b"\0\0\x80\x7f"]))
    size = draw(mostly(st.just(size), st.integers(0, 100_000)))
    tail: bytes = draw(mostly(st.just(b""), st.binary(max_size=20)))
    result: bytes = head + (filling * size)[:size] + tail
    return result


METHODS = st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
MEMBERS = st.sampled_from(
    ["top1.npy", "top1.npy", "probs.npy", "top5.npy", "top1", " ", "../top1.npy", "é.npy", "a" * 300, "t/"]
)
ENTRY = {
    6: 2,
    8: 2,
    10: 2,
    16: 4,
    20: 4,
    24: 4,
    28: 2,
    30: 2,
    32: 2,
    34: 2,
    42: 4,
}  # fields of an index' entry, by place
LIES = st.sampled_from([0, 1, 8, 12, 14, 93, 99, 0x7F, 0xFF, 100, 1024, 65_535, 2**31 - 1, 2**32 - 1]) | st.integers(
    0, 2**32 - 1
)


@st.composite
def zip_like(draw: st.DrawFn) -> bytes:
    """Return a ZIP archive of arrays with wrong sizes, offsets, methods, checksums, or flags in its index."""
    arrays = npy_like() | st.sampled_from([as_npy(TWELVE), as_npy(SCORES), GOOD["npz"], b""])
    members = draw(st.lists(st.tuples(MEMBERS, arrays), max_size=4))
    content = bytearray(as_zip([("top1.npy", as_npy(TWELVE)), *members][draw(st.integers(0, 1)) :], draw(METHODS)))
    for _ in range(draw(st.integers(0, 3))):
        entry = content.find(b"PK\x01\x02", draw(st.integers(0, len(content))))
        if entry < 0:
            continue
        place = draw(st.sampled_from(sorted(ENTRY)))
        width = ENTRY[place]
        content[entry + place : entry + place + width] = (draw(LIES) % (1 << 8 * width)).to_bytes(width, "little")
    if draw(st.integers(0, 4)) == 0:
        end = content.rfind(b"PK\x05\x06")
        place = end + draw(st.sampled_from([8, 10, 12, 16]))
        content[place : place + 2] = draw(LIES).to_bytes(4, "little")[:2]
    return bytes(content)


# -- Parquet

KINDS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "text": (pa.string(), CELLS.map(lambda text: text.encode("utf-8", "replace").decode())),
    "large text": (pa.large_string(), st.sampled_from(NAMES)),
    "view": (pa.string_view(), st.sampled_from(NAMES)),
    "bytes": (pa.binary(), st.sampled_from([name.encode() for name in NAMES]) | st.binary(max_size=30)),
    "large bytes": (pa.large_binary(), st.binary(max_size=30)),
    "few bytes": (pa.binary(4), st.binary(min_size=4, max_size=4)),
    "categories": (pa.dictionary(pa.int8(), pa.string()), st.sampled_from(NAMES)),
    "numbers": (pa.int64(), st.integers(-(2**63), 2**63 - 1) | st.integers(0, 999)),
    "unsigned": (pa.uint64(), st.integers(0, 2**64 - 1) | st.integers(0, 999)),
    "small": (pa.int8(), st.integers(-128, 127)),
    "floats": (pa.float64(), st.floats() | st.floats(0, 1)),
    "halves": (pa.float16(), st.floats(width=16).map(np.float16)),
    "flags": (pa.bool_(), st.booleans()),
    "times": (pa.timestamp("ns"), st.integers(0, 2**62)),
    "dates": (pa.date32(), st.integers(0, 30_000)),
    "decimals": (pa.decimal128(20, 2), st.decimals(0, 1000, places=2)),
    "lists": (pa.list_(pa.int64()), st.lists(st.integers(0, 9), max_size=3)),
    "records": (pa.struct([("file_name", pa.string())]), st.fixed_dictionaries({"file_name": st.sampled_from(NAMES)})),
    "maps": (
        pa.map_(pa.string(), pa.int64()),
        st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 9)), max_size=2),
    ),
    "nothing": (pa.null(), st.none()),
    "json": (pa.json_(), st.just("1")),
    "ids": (pa.uuid(), st.binary(min_size=16, max_size=16)),
}
USUAL = {
    "file_name": ["text", "large text", "bytes", "categories"],
    "top1": ["numbers", "text", "small"],
    "predicted_probability": ["floats", "halves"],
}
WHOLE = [pa.int8(), pa.uint8(), pa.int16(), pa.uint32(), pa.int64(), pa.uint64()]
OPTIONS = st.fixed_dictionaries(
    {
        "compression": st.sampled_from(["none", "snappy", "gzip", "zstd", "brotli", "lz4"]),
        "data_page_version": st.sampled_from(["1.0", "2.0"]),
        "use_dictionary": st.booleans(),
        "row_group_size": st.integers(1, 12),
        "data_page_size": st.sampled_from([1, 100, MIB]),
        "write_statistics": st.booleans(),
        "store_schema": st.booleans(),
        "write_page_index": st.booleans(),
        "write_page_checksum": st.booleans(),
    }
)


@st.composite
def parquet_like(draw: st.DrawFn) -> bytes:
    """Return a table with columns of any types, with missing values."""
    images = draw(IMAGES)
    rows, columns = len(images), {}
    if draw(st.booleans()):
        columns = {"file_name": pa.array(images), "top1": pa.array(range(rows), draw(st.sampled_from(WHOLE)))}
    for name in draw(st.lists(mostly(st.sampled_from(sorted(USUAL)), FIELDS.filter(str.isascii)), max_size=3)):
        kind, values = KINDS[draw(st.sampled_from(USUAL.get(name, []) * 3 + sorted(KINDS)))]
        drawn = draw(st.lists(mostly(values, st.none()), min_size=rows, max_size=rows))
        columns[name] = pa.array(drawn, kind)
    return as_parquet(columns, **draw(OPTIONS))

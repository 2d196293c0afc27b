"""JSONL: one object per line, with the names of the CSV columns as keys.

Arrow reads files in which all lines have the same form. A slower reader handles all others. Only keys of the first line
are read, so that keys of later lines take no memory.
"""

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from errata.errors import InvalidRow, InvalidUpload, Violation
from pyarrow import json as arrow_json

from service.predictions.uploads.columns import PROBABILITY, Columns, find_columns
from service.predictions.uploads.rows import MAX_WRONG, NamedRows, check_row_count
from service.predictions.uploads.terms import JSONL_TERMS
from service.predictions.uploads.validation import MAX_VIOLATIONS
from service.storage import Readable

MAX_LINE = 16 << 10  # bytes; parsing a longer line would delay other calls
BOM = b"\xef\xbb\xbf"
JSON_TYPES = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}


def recognizes(head: bytes) -> bool:
    """Return whether a file starts with a JSON object or array."""
    return head.lstrip(BOM + b" \t\r\n").startswith((b"{", b"["))


def read(content: Readable, images: int) -> Iterator[NamedRows]:
    """Yield the rows; raise InvalidUpload, InvalidRow, or TooLarge for far more lines than images.

    Lines are counted before parsing, because a small parsed object takes a hundred times its size in memory.
    """
    text = content.read().removeprefix(BOM)
    check_row_count(text.count(b"\n"), images)
    if text.lstrip()[:1] == b"[":
        message = "The file is a JSON array. Write JSONL, one object per line, for example with `jq -c '.[]'`."
        raise InvalidRow(message, violations=[Violation("row", message, 1)])
    yield _read_uniform(text) or _read_lines(text)


def _read_uniform(text: bytes) -> NamedRows | None:
    """Return the rows if each line is an object with the types of the first one; otherwise None."""
    lines = text.count(b"\n") + (not text.endswith(b"\n"))
    if not text.startswith(b"{") or text.count(b"\n{") + 1 != lines:
        return None
    try:
        first = _parse_object(text.partition(b"\n")[0])
        columns = find_columns([*first], JSONL_TERMS)
        class_type = pa.int64() if isinstance(first[columns.predicted], int) else pa.string()
        schema = pa.schema(
            [(columns.file_name, pa.string()), (columns.predicted, class_type)]
            + [(name, pa.float64()) for name in PROBABILITY]
        )
        options = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        table = arrow_json.read_json(pa.BufferReader(text), parse_options=options).combine_chunks()
        table.validate(full=True)  # the reader accepts text that is not UTF-8
    except (ValueError, pa.ArrowInvalid, pa.ArrowNotImplementedError, InvalidUpload):
        return None
    present = [column for column in table.columns if column.null_count < len(column)]
    if table.num_rows != lines or len(present) != len(columns.names) or any(column.null_count for column in present):
        return None
    return NamedRows(
        names=_single_chunk(table[columns.file_name]).cast(pa.binary()),
        classes=_single_chunk(table[columns.predicted]),
        probabilities=_single_chunk(table[columns.probability]) if columns.probability else None,
        lines=np.arange(1, table.num_rows + 1),
        are_answers=columns.are_answers,
    )


def _read_lines(text: bytes) -> NamedRows:
    """Return the rows, parsed line by line."""
    lines: list[int] = []
    values: list[tuple[bytes, str, str | None]] = []
    wrong: list[Violation] = []
    columns: Columns | None = None
    for number, line in enumerate(io.BytesIO(text), start=1):
        if not line.strip():
            continue
        try:
            raw = _parse_object(line)
            columns = columns or find_columns([*raw], JSONL_TERMS, line=number)
            probability = _probability(raw, columns.probability)
            values.append((_text(raw, columns.file_name).encode(), _class(raw, columns.predicted), probability))
            lines.append(number)
        except ValueError as error:
            wrong.append(Violation("row", str(error), number))
            if len(wrong) >= MAX_WRONG:
                break
    names, classes, probabilities = zip(*values, strict=True) if values else ((), (), ())
    return NamedRows(
        names=pa.array(names, type=pa.binary()),
        classes=pa.array(classes, type=pa.string()),
        probabilities=pa.array(probabilities, type=pa.string()) if columns and columns.probability else None,
        lines=np.array(lines, dtype=np.int64),
        wrong=tuple(sorted(wrong, key=lambda violation: violation.line or 0)[:MAX_VIOLATIONS]),
        num_wrong=len(wrong),
        are_answers=columns is not None and columns.are_answers,
    )


def _parse_object(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE:
        raise ValueError(f"The line has {len(line):,} bytes. Expected one object of at most {MAX_LINE:,} bytes.")
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Invalid JSON: {line[:60]!r} ({error!s:.80}). Write one object per line.") from error
    if not isinstance(raw, dict):
        raise ValueError(f"Expected a JSON object, got {_json_type(raw)}. Write one object per line.")
    return raw


def _text(raw: dict[str, Any], key: str) -> str:
    if key not in raw:
        raise ValueError(f"Missing key {key!r}. Write the keys of the first object in every line.")
    value = raw[key]
    if value is None or isinstance(value, (dict, list, bool)):
        raise ValueError(f"Key {key!r} is {_json_type(value)}. Expected a string or a number.")
    text = str(value)
    text.encode()  # raises UnicodeEncodeError, a ValueError, for a lone surrogate
    return text


def _probability(raw: dict[str, Any], key: str | None) -> str | None:
    if key:
        return _text(raw, key)
    late = [name for name in PROBABILITY if name in raw]
    if late:
        raise ValueError(f"Key {late[0]!r} is missing in the first object. Write it in every line or in none.")
    return None


def _class(raw: dict[str, Any], key: str) -> str:
    if isinstance(raw.get(key), float):
        raise ValueError(f"Class {raw[key]!r} is not an integer. Write an index as 3 instead of 3.0.")
    return _text(raw, key)


def _json_type(value: object) -> str:
    return JSON_TYPES.get(type(value), "a number")


def _single_chunk(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined

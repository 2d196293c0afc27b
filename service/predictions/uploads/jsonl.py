"""JSONL: an object a line, with the keys of the CSV. Arrow reads it; what Arrow can't is read line by line.

The first line says which keys count and of what type they are, so that no key that comes later costs anything.
"""

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from errata.errors import InvalidUpload, Violation
from pyarrow import json as arrow_json

from service.predictions.uploads.columns import PROBABILITY, Columns, find_columns
from service.predictions.uploads.rows import MAX_WRONG, NamedRows, check_row_count
from service.predictions.uploads.validation import SHOWN
from service.storage import Readable

MAX_LINE = 16 << 10  # bytes; reading a longer one would hold up everybody else


def recognizes(head: bytes) -> bool:
    """Say whether text starts like JSONL."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"["))


def read(content: Readable, images: int) -> Iterator[NamedRows]:
    """Yield the rows; raise InvalidRow with the lines that are no objects with the needed keys, TooLarge for too many.

    Lines are counted before any is parsed: of small objects, a parsed one takes a hundred times its size.
    """
    text = content.read().removeprefix(b"\xef\xbb\xbf")
    check_row_count(text.count(b"\n"), images)
    yield _fast(text) or _slow(text)


def _fast(text: bytes) -> NamedRows | None:
    """Return the rows if every line is an object whose values have the types of the first, and no line is blank."""
    lines = text.count(b"\n") + (not text.endswith(b"\n"))
    if not text.startswith(b"{") or text.count(b"\n{") + 1 != lines:
        return None
    try:
        first = _object(text.partition(b"\n")[0])
        columns = find_columns([*first])
        kind = pa.int64() if isinstance(first[columns.predicted], int) else pa.string()
        schema = pa.schema(
            [(columns.file_name, pa.string()), (columns.predicted, kind)]
            + [(name, pa.float64()) for name in PROBABILITY]
        )
        options = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        table = arrow_json.read_json(pa.BufferReader(text), parse_options=options).combine_chunks()
        table.validate(full=True)  # it takes any bytes for text
    except (ValueError, pa.ArrowInvalid, pa.ArrowNotImplementedError, InvalidUpload):
        return None
    given = [column for column in table.columns if column.null_count < len(column)]
    if table.num_rows != lines or len(given) != len(columns.names) or any(column.null_count for column in given):
        return None
    return NamedRows(
        names=_one(table[columns.file_name]).cast(pa.binary()),
        classes=_one(table[columns.predicted]),
        probabilities=_one(table[columns.probability]) if columns.probability else None,
        lines=np.arange(1, table.num_rows + 1),
    )


def _slow(text: bytes) -> NamedRows:
    lines: list[int] = []
    values: list[tuple[bytes, str, str | None]] = []
    wrong: list[Violation] = []
    columns: Columns | None = None
    for number, line in enumerate(io.BytesIO(text), start=1):
        if not line.strip():
            continue
        try:
            raw = _object(line)
            columns = columns or find_columns([*raw], line=number)
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
        wrong=tuple(sorted(wrong, key=lambda item: item.line or 0)[:SHOWN]),
        num_wrong=len(wrong),
    )


def _object(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE:
        raise ValueError(f"expected a line of at most {MAX_LINE} bytes, got {len(line)}")
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"expected a JSON object, got {line[:60]!r} ({error})") from error
    if not isinstance(raw, dict):
        raise ValueError(f"expected a JSON object, got {type(raw).__name__}")
    return raw


def _text(raw: dict[str, Any], key: str) -> str:
    value = raw.get(key)
    if value is None or isinstance(value, (dict, list, bool)):
        raise ValueError(f"expected {key}, got {value!r:.60}")
    text = str(value)
    text.encode()  # a lone surrogate is no text
    return text


def _probability(raw: dict[str, Any], key: str | None) -> str | None:
    if key:
        return _text(raw, key)
    late = [name for name in PROBABILITY if name in raw]
    if late:
        raise ValueError(f"expected {late[0]} in every row or in none, got it here and not in the first")
    return None


def _class(raw: dict[str, Any], key: str) -> str:
    if isinstance(raw.get(key), float):
        raise ValueError(f"expected {key} to be a class index, WordNet id or name, got the fraction {raw[key]!r}")
    return _text(raw, key)


def _one(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined

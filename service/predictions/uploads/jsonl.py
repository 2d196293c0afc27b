"""JSONL: an object a line, with the keys of the CSV. Arrow reads it; what Arrow can't is read line by line."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import json as arrow_json

from service.errors import InvalidUpload, Violation
from service.predictions.uploads.columns import find_columns
from service.predictions.uploads.rows import NamedRows
from service.predictions.uploads.validate import SHOWN
from service.storage import Readable


def recognizes(head: bytes) -> bool:
    """Say whether text starts like JSONL."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"["))


def read(content: Readable) -> Iterator[NamedRows]:
    """Yield the rows; raise InvalidRow with the lines that are no objects with the needed keys."""
    text = content.read().removeprefix(b"\xef\xbb\xbf")
    yield _fast(text) or _slow(text)


def _fast(text: bytes) -> NamedRows | None:
    """Return the rows if every line is an object whose values have one type a key, and no line is blank."""
    lines = text.count(b"\n") + (not text.endswith(b"\n"))
    if not text.startswith(b"{") or text.count(b"\n{") + 1 != lines:
        return None
    try:
        table = arrow_json.read_json(pa.BufferReader(text)).combine_chunks()
        columns = find_columns(table.column_names)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, InvalidUpload):
        return None
    names, classes = table[columns.file_name], table[columns.predicted]
    probabilities = table[columns.probability] if columns.probability else None
    if table.num_rows != lines:
        return None
    found = [column for column in (names, classes, probabilities) if column is not None]
    if any(column.null_count for column in found) or not pa.types.is_string(names.type):
        return None
    if not (pa.types.is_integer(classes.type) or pa.types.is_string(classes.type)):
        return None
    if probabilities is not None and not pa.types.is_floating(probabilities.type):
        return None
    return NamedRows(
        names=_one(names).cast(pa.binary()),
        classes=_one(classes),
        probabilities=None if probabilities is None else _one(probabilities),
        lines=np.arange(1, table.num_rows + 1),
    )


def _slow(text: bytes) -> NamedRows:
    objects: list[tuple[int, dict[str, Any]]] = []
    lines: list[int] = []
    values: list[tuple[bytes, str, str | None]] = []
    wrong: list[Violation] = []
    for number, line in enumerate(text.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            objects.append((number, _object(line)))
        except ValueError as error:
            wrong.append(Violation("row", str(error), number))
    columns = find_columns([*dict.fromkeys(key for _, raw in objects for key in raw)], line=None) if objects else None
    for number, raw in objects:
        assert columns, "this is a bug: there are objects"
        try:
            probability = _text(raw, columns.probability) if columns.probability else None
            values.append((_text(raw, columns.file_name).encode(), _class(raw, columns.predicted), probability))
            lines.append(number)
        except ValueError as error:
            wrong.append(Violation("row", str(error), number))
    names, classes, probabilities = zip(*values, strict=True) if values else ((), (), ())
    return NamedRows(
        names=pa.array(names, type=pa.binary()),
        classes=pa.array(classes, type=pa.string()),
        probabilities=pa.array(probabilities, type=pa.string()) if columns and columns.probability else None,
        lines=np.array(lines, dtype=np.int64),
        wrong=tuple(sorted(wrong, key=lambda each: each.line or 0)[:SHOWN]),
        num_wrong=len(wrong),
    )


def _object(line: bytes) -> dict[str, Any]:
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


def _class(raw: dict[str, Any], key: str) -> str:
    if isinstance(raw.get(key), float):
        raise ValueError(f"expected {key} to be a class index, WordNet id or name, got the fraction {raw[key]!r}")
    return _text(raw, key)


def _one(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined

"""JSONL: one object per line, with the names of the CSV columns as keys.

Arrow reads files in which all lines have the same form. A slower reader handles all other files. Only the keys of the
first line are read, so that additional keys of later lines take no memory.
"""

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from errata.errors import InvalidUpload
from pyarrow import json as arrow_json

from service.domain import LabelSpace
from service.predictions.uploads.columns import PROBABILITY, find_columns
from service.predictions.uploads.descriptions import SCORES_REMEDY
from service.predictions.uploads.records import RecordParser, RowCollector, json_type
from service.predictions.uploads.rows import NamedRows, check_row_count
from service.predictions.uploads.terms import JSONL_TERMS
from service.storage import Readable

MAX_LINE = 16 << 10  # bytes; parsing a longer line would delay other requests
BOM = b"\xef\xbb\xbf"


def recognizes(head: bytes) -> bool:
    """Return whether a file starts with a JSON object. JSON documents must be recognized before this format."""
    return head.lstrip(BOM + b" \t\r\n").startswith(b"{")


def read(content: Readable, images: int, label_space: LabelSpace) -> Iterator[NamedRows]:
    """Yield the rows; raise InvalidUpload or InvalidRow for invalid content, or TooLarge for far too many lines.

    Lines are counted before parsing, because a small parsed object takes a hundred times its size in memory.
    """
    text = content.read().removeprefix(BOM)
    check_row_count(text.count(b"\n"), images, JSONL_TERMS.row)
    yield _read_uniform(text) or _read_lines(text, label_space.num_classes)


def _read_uniform(text: bytes) -> NamedRows | None:
    """Return the rows if each line is an object with the same value types as the first object; otherwise None."""
    lines = text.count(b"\n") + (not text.endswith(b"\n"))
    if not text.startswith(b"{") or text.count(b"\n{") + 1 != lines:
        return None
    try:
        first = _parse_object(text.partition(b"\n")[0])
        columns = find_columns([*first], JSONL_TERMS)
        class_type = pa.int64() if isinstance(first[columns.predicted], int) else pa.string()
        schema = pa.schema(
            [(columns.file_name, pa.string()), (columns.predicted, class_type)]
            + [(name, pa.float64()) for name in {*PROBABILITY[0], *columns.names[2:]}]
        )
        options = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        table = arrow_json.read_json(pa.BufferReader(text), parse_options=options).combine_chunks()
        table.validate(full=True)  # Arrow's reader also accepts text that is not UTF-8
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
        is_numbered=columns.is_numbered,
        is_certain=columns.is_certain,
        assumptions=columns.assumptions,
    )


def _read_lines(text: bytes, num_classes: int) -> NamedRows:
    """Return the rows, parsed line by line."""
    collector = RowCollector()
    parser: RecordParser | None = None
    for number, line in enumerate(io.BytesIO(text), start=1):
        if not line.strip():
            continue
        try:
            raw = _parse_object(line)
            columns = find_columns([*raw], JSONL_TERMS, number, has_scores=True) if parser is None else parser.columns
            parser = parser or RecordParser(columns, JSONL_TERMS, num_classes)
            collector.add(number, parser.parse(raw))
        except ValueError as error:
            collector.add_wrong(number, str(error))
            if collector.is_full:
                break
    return collector.to_rows(parser)


def _parse_object(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE:
        raise ValueError(
            f"The line has {len(line):,} bytes. Expected one object of at most {MAX_LINE:,} bytes. {SCORES_REMEDY}"
        )
    try:
        raw = json.loads(line)
    except UnicodeDecodeError as error:
        raise ValueError(f"The line is not UTF-8: {line[:60]!r}. Save the file as UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Invalid JSON: {line[:60]!r} ({error!s:.80}). Write one object per line.") from error
    if not isinstance(raw, dict):
        raise ValueError(f"Expected a JSON object, got {json_type(raw)}. Write one object per line.")
    return raw


def _single_chunk(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined

"""The output file of a sandboxed process: an Arrow stream, a JSON document, and the length of the document.

A hostile upload can take control of the process that parses it, so the reader checks everything in the file.
"""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import structlog
from errata.errors import (
    ErrataError,
    InvalidRow,
    InvalidUpload,
    TooLarge,
    TruncatedUpload,
    UnsupportedFormat,
    Violation,
)
from numpy.typing import NDArray

from service.predictions.sandbox.arrow_stream import check_messages
from service.predictions.uploads.rows import MAX_VIOLATIONS, NamedRows, OrderedRows, Rows

LENGTH_BYTES = 8  # size of the field with the length of the document
MAX_DOCUMENT = 1 << 20  # bytes
MAX_TEXT = 2_000  # characters of a message or warning
ERRORS = {error.reason: error for error in (InvalidUpload, InvalidRow, UnsupportedFormat, TruncatedUpload, TooLarge)}
NAMED_COLUMNS = ("name", "class", "probability", "line")
ORDERED_COLUMNS = ("top1", "probability", "among")
_log = structlog.get_logger()


def write_rows(file: BinaryIO, rows: Rows) -> None:
    """Write parsed rows."""
    if isinstance(rows, OrderedRows):
        columns = {"top1": rows.top1, "probability": rows.probability, "among": rows.top1_restricted}
        batch = pa.record_batch({name: pa.array(values) for name, values in columns.items() if values is not None})
        with pa.ipc.new_stream(file, batch.schema) as stream:
            stream.write_batch(batch)
        _write_document(file, {"kind": "ordered", "warnings": rows.warnings, "assumptions": rows.assumptions})
        return
    violations: list[Violation] = []
    num_wrong = 0
    stream = None
    assumptions: dict[str, None] = {}
    are_answers, is_numbered, is_certain = False, False, True
    for block in rows:
        violations = [*violations, *block.wrong][:MAX_VIOLATIONS]
        num_wrong += block.num_wrong
        assumptions |= dict.fromkeys(block.assumptions)
        are_answers, is_numbered, is_certain = block.are_answers, block.is_numbered, block.is_certain
        batch = _batch_of(block)
        stream = pa.ipc.new_stream(file, batch.schema) if stream is None else stream
        stream.write_batch(batch)
    if stream is not None:
        stream.close()
    document = {
        "kind": "named",
        "violations": [_violation_fields(violation) for violation in violations],
        "num_wrong": num_wrong,
        "are_answers": are_answers,
        "is_numbered": is_numbered,
        "is_certain": is_certain,
        "assumptions": [*assumptions],
    }
    _write_document(file, document)


def write_error(file: BinaryIO, error: ErrataError, detail: str = "") -> None:
    """Write an error instead of rows, and a detail that the service logs."""
    file.seek(0)
    file.truncate()
    violations = [_violation_fields(violation) for violation in error.violations]
    document = {"kind": "error", "reason": error.reason, "message": error.message, "violations": violations}
    _write_document(file, document | {"detail": detail[-MAX_TEXT:]})


def read_rows(content: bytes) -> Rows:
    """Return the rows.

    Raises:
        ErrataError: The error that was written instead of rows.
        ValueError: The file is damaged.
    """
    try:
        document, stream = _split(content)
        match document.get("kind"):
            case "error":
                raise _error(document)
            case "ordered":
                return _read_ordered_rows(stream, document)
            case "named":
                return iter(list(_read_named_rows(stream, document)))  # a list, so that damage raises ValueError here
    except (pa.ArrowException, KeyError, TypeError, OSError, OverflowError, RecursionError) as error:
        raise ValueError(f"Expected rows or an error: {error!r:.200}.") from error
    raise ValueError("Expected rows or an error.")


def _split(content: bytes) -> tuple[dict[str, Any], pa.Buffer]:
    length = int.from_bytes(content[-LENGTH_BYTES:], "little")
    if not 0 < length <= min(len(content) - LENGTH_BYTES, MAX_DOCUMENT):
        raise ValueError(f"Expected a document of at most {MAX_DOCUMENT} bytes, got {length}.")
    start = len(content) - LENGTH_BYTES - length
    document = json.loads(content[start:-LENGTH_BYTES])
    if not isinstance(document, dict):
        raise ValueError("Expected a JSON object.")
    return document, pa.py_buffer(content).slice(0, start)


def _write_document(file: BinaryIO, document: dict[str, Any]) -> None:
    content = json.dumps(document).encode()
    file.write(content + len(content).to_bytes(LENGTH_BYTES, "little"))
    file.flush()


def _violation_fields(violation: Violation) -> list[Any]:
    return [violation.field, violation.description, violation.line, violation.unit]


def _violations(document: dict[str, Any]) -> tuple[Violation, ...]:
    return tuple(
        Violation(_text(field), _text(description), None if line is None else int(line), _text(unit))
        for field, description, line, unit in document["violations"][:MAX_VIOLATIONS]
    )


def _texts(document: dict[str, Any], name: str) -> tuple[str, ...]:
    return tuple(_text(value) for value in document[name][:MAX_VIOLATIONS])


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("Expected text.")
    return value[:MAX_TEXT]


def _error(document: dict[str, Any]) -> ErrataError:
    if document.get("detail"):
        _log.warning("parser of binary uploads failed", detail=_text(document["detail"]))
    return ERRORS[_text(document["reason"])](_text(document["message"]), violations=_violations(document))


def _batch_of(block: NamedRows) -> pa.RecordBatch:
    columns = {"name": block.names, "class": block.classes, "line": pa.array(block.lines)}
    if block.probabilities is not None:
        columns["probability"] = block.probabilities
    return pa.record_batch(columns)


def _read_named_rows(stream: pa.Buffer, document: dict[str, Any]) -> Iterator[NamedRows]:
    for batch in _batches(stream, NAMED_COLUMNS):
        if batch.column("name").type != pa.binary():
            raise ValueError("Expected names as bytes.")
        are_answers = document["are_answers"] is True
        if are_answers and batch.column("class").type not in (pa.string(), pa.large_string()):
            raise ValueError("Expected answers as text.")
        yield NamedRows(
            names=batch.column("name"),
            classes=batch.column("class"),
            probabilities=batch.column("probability") if "probability" in batch.schema.names else None,
            lines=_numbers(batch, "line", np.int64),
            are_answers=are_answers,
            is_numbered=document["is_numbered"] is True,
            is_certain=document["is_certain"] is True,
        )
    yield NamedRows.without_rows(_violations(document), int(document["num_wrong"]), _texts(document, "assumptions"))


def _read_ordered_rows(stream: pa.Buffer, document: dict[str, Any]) -> OrderedRows:
    (batch,) = _batches(stream, ORDERED_COLUMNS)
    names = batch.schema.names
    return OrderedRows(
        top1=_numbers(batch, "top1", np.int64),
        probability=_numbers(batch, "probability", np.float32) if "probability" in names else None,
        top1_restricted=_numbers(batch, "among", np.int64) if "among" in names else None,
        warnings=_texts(document, "warnings"),
        assumptions=_texts(document, "assumptions"),
    )


def _numbers(batch: pa.RecordBatch, name: str, dtype: type[np.generic]) -> NDArray[Any]:
    values: NDArray[Any] = batch.column(name).to_numpy(zero_copy_only=True)
    if values.dtype != dtype:
        raise ValueError(f"Expected {name} as {dtype.__name__}, got {values.dtype}.")
    return values


def _batches(stream: pa.Buffer, names: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    """Yield the validated batches of a stream, which may be empty."""
    if not stream.size:
        return
    check_messages(stream)
    for batch in pa.ipc.open_stream(stream):
        if not set(batch.schema.names) <= set(names) or len(set(batch.schema.names)) != batch.num_columns:
            raise ValueError(f"Expected columns among {names}.")
        batch.validate(full=True)
        yield batch

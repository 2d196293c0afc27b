"""Parquet with the columns of the CSV, or with lists of classes or of scores.

The index of a Parquet file is at its end, so the file must be seekable.
"""

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from errata.errors import InvalidUpload, TooLarge, Violation
from numpy.typing import NDArray
from pyarrow import parquet

from service.predictions.uploads.columns import Columns, find_columns
from service.predictions.uploads.parquet_lists import (
    are_scores,
    is_list,
    is_usable_list,
    top_of_lists,
    with_probabilities,
)
from service.predictions.uploads.rows import MAX_VIOLATIONS, NamedRows, check_row_count
from service.predictions.uploads.score_probabilities import ScoreProbabilities
from service.predictions.uploads.terms import PARQUET_TERMS, format_size

BATCH_ROWS = 8_192
BATCH_SCORES = 256  # rows of scores: 33 MB with 32,767 classes in float32
MAX_TEXT, MAX_ANSWER = 1 << 10, 16 << 10  # bytes of one value
MAX_COLUMNS = 10_000
MAX_ROW_GROUPS = 10_000
MAX_FOOTER = 4 << 20  # bytes
FOOTER_END = 8  # bytes: the length of the footer, and the signature


def recognizes(head: bytes) -> bool:
    """Return whether a file starts with the Parquet signature."""
    return head.startswith(b"PAR1")


def read(content: BinaryIO, limit: int, num_images: int, num_classes: int) -> Iterator[NamedRows]:
    """Yield the rows.

    Call this only in a sandboxed process: for a damaged file, pyarrow can crash or exhaust the memory.

    Args:
        content: The file.
        limit: Maximum size of the unpacked columns in bytes.
        num_images: Number of images of the data set.
        num_classes: Number of classes of its label space.

    Raises:
        InvalidUpload: The file is damaged, or a column is missing or has the wrong type.
        TooLarge: The rows unpack to more than `limit`, or there are far more rows than images.
    """
    try:
        _check_footer(content)
        metadata = parquet.read_metadata(content)
        check_row_count(metadata.num_rows, num_images)
        _check_counts(metadata)
        schema = metadata.schema.to_arrow_schema()
        columns = find_columns(schema.names, PARQUET_TERMS, has_scores=True)
        paths = _check_types(schema, columns)
        content.seek(0)
        file = parquet.ParquetFile(content, metadata=metadata)
        kind = schema.field(columns.predicted).type
        is_needed = are_scores(kind) and columns.probability is None
        scores = ScoreProbabilities(columns.predicted.lower() == "logits") if is_needed else None
        size = BATCH_SCORES if is_list(kind) else BATCH_ROWS
        batches = file.iter_batches(batch_size=size, columns=paths, use_threads=False)
        blocks = (
            _named_rows(batch, columns, lines, num_classes, scores)
            for batch, lines in _number_rows(batches, limit, num_images)
        )
        yield from blocks if scores is None else with_probabilities([*blocks], scores)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidUpload(
            f"The Parquet file is incomplete or damaged ({error!s:.200}). Write it again, and upload the whole file.",
            field="chunk",
        ) from error


def _number_rows(
    batches: Iterator[pa.RecordBatch], limit: int, num_images: int
) -> Iterator[tuple[pa.RecordBatch, NDArray[np.int64]]]:
    """Yield batches with the numbers of their rows; raise TooLarge for too many bytes or rows."""
    row, size = 1, 0
    for batch in batches:
        size += batch.nbytes
        if size > limit:
            raise TooLarge(
                f"The columns unpack to more than {format_size(limit)}. Remove duplicate rows, or shorten the values.",
                field="chunk",
            )
        check_row_count(row + batch.num_rows - 1, num_images)
        yield batch, np.arange(row, row + batch.num_rows)
        row += batch.num_rows


def _check_footer(content: BinaryIO) -> None:
    """Raise TooLarge if the footer, which Arrow reads completely, is too large for a table of predictions."""
    end = content.seek(0, 2)
    content.seek(max(0, end - FOOTER_END))
    length = int.from_bytes(content.read(4), "little")
    content.seek(0)
    if MAX_FOOTER < length <= end:
        raise TooLarge(
            f"The Parquet footer has {format_size(length)}. Expected at most {format_size(MAX_FOOTER)}. Write fewer "
            "columns and row groups.",
            field="chunk",
        )


def _check_counts(metadata: parquet.FileMetaData) -> None:
    for count, limit, parts in (
        (metadata.num_columns, MAX_COLUMNS, "columns"),
        (metadata.num_row_groups, MAX_ROW_GROUPS, "row groups"),
    ):
        if count > limit:
            raise TooLarge(
                f"The Parquet file has {count:,} {parts}. Expected at most {limit:,}. Write fewer {parts}.",
                field="chunk",
            )


def _check_types(schema: pa.Schema, columns: Columns) -> list[str]:
    """Return the columns to read; for a struct, only the fields that are needed.

    Raises:
        InvalidUpload: A column has an unsupported type. Arrow would create nested values for each row.
    """
    paths = []
    for field, name, expected in (
        ("file_name", columns.file_name, "text"),
        (
            "answer" if columns.are_answers else "predicted_class",
            columns.predicted,
            "text"
            if columns.are_answers
            else "integers (class indices), text (IDs or names of classes), or lists of classes or of scores",
        ),
        ("predicted_probability", columns.probability, "floating-point numbers from 0 to 1"),
    ):
        if name is None:
            continue
        kind = schema.field(name).type
        path = _path_field(kind) if field == "file_name" else ""
        value_type = kind.field(path).type if path else _value_type(kind)
        is_number = columns.is_numbered and field == "file_name" and _is_number(value_type)
        if not (is_number or _is_usable(field, value_type)):
            raise InvalidUpload(
                f"Column {name!r} has the type {kind!s:.80}. Expected {expected}. Convert the column before you write "
                "the file.",
                field=field,
            )
        paths.append(f"{name}.{path}" if path else name)
    return paths


def _path_field(kind: pa.DataType) -> str:
    """Return the name of the path field in an image struct of a Hugging Face data set; empty for other types."""
    return "path" if pa.types.is_struct(kind) and kind.get_field_index("path") >= 0 else ""


def _is_usable(field: str, kind: pa.DataType) -> bool:
    match field:
        case "file_name":
            return _is_text(kind) or _is_binary(kind)
        case "answer":
            return _is_text(kind)
        case "predicted_class":
            return _is_text(kind) or _is_number(kind) or is_usable_list(kind)
        case _:
            return bool(pa.types.is_string(kind) or pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _named_rows(
    batch: pa.RecordBatch,
    columns: Columns,
    lines: NDArray[np.int64],
    num_classes: int,
    scores: ScoreProbabilities | None,
) -> NamedRows:
    wrong: list[Violation] = []
    is_complete = np.ones(batch.num_rows, dtype=bool)
    for name in columns.names:
        is_missing = np.asarray(_field_of(batch.column(name)).is_null())
        description = f"Column {name!r} has no value. Write a value in every row."
        wrong += [Violation(name, description, int(line)) for line in lines[is_missing]]
        is_complete &= ~is_missing
    predicted, assumptions = batch.column(columns.predicted), columns.assumptions
    probabilities = batch.column(columns.probability) if columns.probability else None
    if is_list(predicted.type):
        top = top_of_lists(predicted, num_classes, columns.predicted, scores)
        predicted, assumptions = top.classes, (*assumptions, *top.assumptions)
        probabilities = top.probabilities if probabilities is None else probabilities
        wrong += [Violation(columns.predicted, top.problem, int(line)) for line in lines[is_complete & top.is_wrong]]
        is_complete &= ~top.is_wrong
    mask = pa.array(is_complete)
    return NamedRows(
        names=_to_names(_field_of(batch.column(columns.file_name)).filter(mask)),
        classes=_plain(predicted.filter(mask), MAX_ANSWER if columns.are_answers else MAX_TEXT),
        probabilities=None if probabilities is None else _plain(probabilities.filter(mask)),
        lines=lines[is_complete],
        wrong=tuple(sorted(wrong, key=lambda violation: violation.line or 0)[:MAX_VIOLATIONS]),
        num_wrong=len(wrong),
        are_answers=columns.are_answers,
        is_numbered=columns.is_numbered,
        is_certain=columns.is_certain and columns.probability is not None,
        assumptions=assumptions,
    )


def _field_of(column: pa.Array) -> pa.Array:
    """Return a column; for a struct, the values of its only field."""
    return pa.compute.struct_field(column, [0]) if pa.types.is_struct(column.type) else column


def _to_names(column: pa.Array) -> pa.Array:
    names = column.cast(pa.string()) if _is_number(column.type) else _plain(column)
    return names.cast(pa.binary())


def _plain(column: pa.Array, limit: int = MAX_TEXT) -> pa.Array:
    """Return a column without dictionary encoding; raise TooLarge for long text, ArrowInvalid for invalid UTF-8."""
    values = column.dictionary if pa.types.is_dictionary(column.type) else column
    if _is_text(values.type) or _is_binary(values.type):
        values.validate(full=True)
        if (pa.compute.max(pa.compute.binary_length(values)).as_py() or 0) > limit:
            raise TooLarge(
                f"A value has more than {limit:,} bytes. Write shorter file names, classes, or answers.",
                field="chunk",
            )
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

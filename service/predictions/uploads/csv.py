"""CSV with a header, read while it streams; every physical line is a row, so that errors name lines."""

import csv as standard_csv
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from service.errors import InvalidRow, InvalidUpload, Violation
from service.predictions.uploads.columns import Columns, find_columns
from service.predictions.uploads.rows import NamedRows
from service.predictions.uploads.source import Source
from service.predictions.uploads.validate import SHOWN

HEADER_LIMIT = 64 << 10  # bytes
BLOCK_SIZE = 1 << 20  # bytes


def recognizes(head: bytes) -> bool:
    """Say whether text is taken for CSV: whatever no other format claims."""
    return not head.startswith((b"{", b"["))


def read(content: Source) -> Iterator[NamedRows]:
    """Yield the rows block by block; raise InvalidUpload or InvalidRow for what is no table."""
    header = _header(content)
    columns = find_columns(header)
    ragged = _Ragged(len(header))
    try:
        reader = arrow_csv.open_csv(
            content,
            read_options=arrow_csv.ReadOptions(use_threads=False, block_size=BLOCK_SIZE, column_names=header),
            parse_options=arrow_csv.ParseOptions(ignore_empty_lines=False, invalid_row_handler=ragged),
            convert_options=_as_text(columns),
        )
        number = 2  # the line of the next row
        for batch in reader:
            lines, number = ragged.lines(number, batch.num_rows)
            yield _rows(batch, columns, lines)
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error):
            return
        raise InvalidUpload(f"expected CSV, got {error!s:.200}", field="chunk") from error
    ragged.refuse()


class _Ragged:
    """Remembers the lines that have another number of columns than the header."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.skipped: list[int] = []
        self.first: list[Violation] = []

    def __call__(self, row: arrow_csv.InvalidRow) -> str:
        line = row.number + 1  # Arrow counts from the first line that it is given
        self.skipped.append(line)
        if len(self.first) < SHOWN:
            self.first.append(
                Violation("row", f"expected {self.columns} columns, got {row.actual_columns}: {row.text!r:.80}", line)
            )
        return "skip"

    def lines(self, start: int, count: int) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], int]:
        """Return the lines of the next `count` good rows from line `start` on, and the line after them."""
        inside = [line for line in self.skipped if line >= start]
        lines = np.arange(start, start + count + len(inside))
        good = lines[~np.isin(lines, inside)][:count] if inside else lines
        return good, int(good[-1]) + 1 if count else start

    def refuse(self) -> None:
        """Raise InvalidRow if there was such a line."""
        if self.skipped:
            first = self.first[0]
            raise InvalidRow(
                f"{len(self.skipped)} lines have another number of columns than the header; line {first.line}: "
                f"{first.description}",
                violations=self.first,
            )


def _header(content: Source) -> list[str]:
    """Read the first line and return the names in it."""
    line = content.read_line(HEADER_LIMIT)
    if line is None:
        raise InvalidUpload(
            f"expected a header of at most {HEADER_LIMIT} bytes, got a longer line", field="header", line=1
        )
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidUpload(f"expected a header in UTF-8, got {line[:40]!r}", field="header", line=1) from error
    if not text.strip():
        raise InvalidUpload("expected a header, got an empty line", field="header", line=1)
    try:
        names = next(standard_csv.reader([text.rstrip("\r")], strict=True))
    except standard_csv.Error as error:
        raise InvalidUpload(f"expected a CSV header, got {text!r:.80} ({error})", field="header", line=1) from error
    return [name.strip() for name in names]


def _as_text(columns: Columns) -> arrow_csv.ConvertOptions:
    types = dict.fromkeys(columns.names, pa.string()) | {columns.file_name: pa.binary()}
    return arrow_csv.ConvertOptions(column_types=types, include_columns=columns.names, strings_can_be_null=False)


def _rows(batch: pa.RecordBatch, columns: Columns, lines: np.ndarray[tuple[int], np.dtype[np.int64]]) -> NamedRows:
    names, classes = batch.column(columns.file_name), batch.column(columns.predicted)
    probabilities = batch.column(columns.probability) if columns.probability else None
    if pa.compute.any(pa.compute.equal(names, b"")).as_py():  # blank lines, or a row without a name
        blank = pa.compute.and_(pa.compute.equal(names, b""), pa.compute.equal(classes, ""))
        kept = np.flatnonzero(~np.asarray(blank))
        names, classes, lines = names.take(pa.array(kept)), classes.take(pa.array(kept)), lines[kept]
        probabilities = None if probabilities is None else probabilities.take(pa.array(kept))
    return NamedRows(names, classes, probabilities, lines)

"""CSV with a header, read as a stream. Each physical line is one row, so that errors can name lines."""

import codecs
import csv as standard_csv
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from errata.errors import InvalidRow, InvalidUpload, Violation
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv

from service.predictions.uploads.bounded_stream import BoundedStream
from service.predictions.uploads.columns import EXPECTED_HEADER, Columns, find_columns
from service.predictions.uploads.rows import MAX_WRONG, NamedRows, check_row_count
from service.predictions.uploads.terms import CSV_TERMS
from service.predictions.uploads.validation import MAX_VIOLATIONS

MAX_HEADER = 64 << 10  # bytes
BLOCK_SIZE = 1 << 20  # bytes; also the longest line that Arrow reads


def recognizes(head: bytes) -> bool:
    """Return whether a file is read as CSV: any file that is not JSON. Other formats are recognized first."""
    return not head.startswith((b"{", b"["))


def read(content: BoundedStream, images: int) -> Iterator[NamedRows]:
    """Yield the rows block by block; raise InvalidUpload, InvalidRow, or TooLarge for far more rows than images."""
    header = _read_header(content)
    columns = find_columns(header, CSV_TERMS, line=1)
    ragged = _RaggedLines(len(header))
    next_line = 2
    try:
        reader = arrow_csv.open_csv(
            _CheckedText(content),
            read_options=arrow_csv.ReadOptions(use_threads=False, block_size=BLOCK_SIZE, column_names=header),
            parse_options=arrow_csv.ParseOptions(ignore_empty_lines=False, invalid_row_handler=ragged),
            convert_options=_text_options(columns),
        )
        for batch in reader:
            lines, next_line = ragged.number_lines(next_line, batch.num_rows)
            check_row_count(next_line - 2, images)
            yield _named_rows(batch, columns, lines)
        yield ragged.to_rows()
    except pa.ArrowInvalid as error:
        if len(ragged.lines) >= MAX_WRONG or "Empty CSV file" in str(error):
            yield ragged.to_rows()
            return
        if "straddl" in str(error):
            raise InvalidUpload(
                f"A line after line {next_line - 1:,} is longer than 1 MB. Write one image per line, and check the "
                "line breaks and quotation marks.",
                field="chunk",
            ) from error
        raise InvalidUpload(
            f"The file is not valid CSV: {error!s:.200}. Write lines such as {EXPECTED_HEADER}.", field="chunk"
        ) from error


class _RaggedLines:
    """Collects the lines that have more or fewer columns than the header."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.lines: list[int] = []
        self.violations: list[Violation] = []

    def __call__(self, row: arrow_csv.InvalidRow) -> str:
        if len(self.lines) >= MAX_WRONG:
            return "error"
        line = row.number + 1  # Arrow does not see the header
        self.lines.append(line)
        if len(self.violations) < MAX_VIOLATIONS:
            description = f"Expected {self.columns} columns, got {row.actual_columns}: {row.text!r:.80}."
            self.violations.append(Violation("row", description, line))
        return "skip"

    def number_lines(self, start: int, count: int) -> tuple[NDArray[np.int64], int]:
        """Return the line numbers of the next `count` valid rows from line `start` on, and the line after them."""
        skipped = [line for line in self.lines if line >= start]
        lines = np.arange(start, start + count + len(skipped))
        valid = lines[~np.isin(lines, skipped)][:count] if skipped else lines
        return valid, int(valid[-1]) + 1 if count else start

    def to_rows(self) -> NamedRows:
        """Return a block without rows that has the violations."""
        empty = pa.array([], type=pa.binary())
        lines = np.zeros(0, dtype=np.int64)
        return NamedRows(empty, empty, None, lines, wrong=tuple(self.violations), num_wrong=len(self.lines))


class _CheckedText:
    """A file object for Arrow that always contains valid UTF-8.

    Bytes that are not UTF-8 become a question mark, so that an error can name their row. A line break between quotes
    raises InvalidRow, because it would shift the numbers of all later lines.
    """

    closed = False

    def __init__(self, content: BoundedStream) -> None:
        self._content = content
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = 2  # number of the current line
        self._is_quoted = False  # whether the current line has an odd number of quotes so far

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        pass

    def read(self, size: int = -1) -> bytes:
        while True:
            piece = self._content.read(max(size - 3, 1) if size >= 0 else size)  # the decoder may add up to 3 bytes
            if not piece.isascii() or self._decoder.getstate()[0]:
                text = self._decoder.decode(piece, final=not piece)
                if piece and not text:
                    continue
                piece = text.replace("\ufffd", "?").encode()
            self._check_quotes(piece)
            return piece

    def _check_quotes(self, piece: bytes) -> None:
        if b'"' in piece or self._is_quoted:
            *complete, last = piece.split(b"\n")
            for offset, line in enumerate(complete):
                if (line.count(b'"') % 2 == 1) != self._is_quoted:
                    number = self._line + offset
                    description = "The line has an odd number of quotation marks. Close each quotation on its line."
                    raise InvalidRow(
                        f"Line {number}: {description}", violations=[Violation("row", description, number)]
                    )
                self._is_quoted = False
            self._is_quoted ^= last.count(b'"') % 2 == 1
        self._line += int(np.count_nonzero(np.frombuffer(piece, dtype=np.uint8) == 10))  # faster than bytes.count


def _read_header(content: BoundedStream) -> list[str]:
    """Read the first line and return the column names."""
    line = content.read_line(MAX_HEADER)
    if line is None:
        raise InvalidUpload(
            f"Line 1 is longer than {MAX_HEADER:,} bytes. Start the file with the header {EXPECTED_HEADER}.",
            field="header",
            line=1,
        )
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidUpload(
            f"Line 1 is not UTF-8 text: {line[:40]!r}. Save the predictions as CSV in UTF-8.", field="header", line=1
        ) from error
    if not text.strip():
        raise InvalidUpload(
            f"Line 1 is empty. Start the file with the header {EXPECTED_HEADER}.", field="header", line=1
        )
    try:
        names = next(standard_csv.reader([text.rstrip("\r")], strict=True))
    except standard_csv.Error as error:
        raise InvalidUpload(
            f"Line 1 is not a CSV header: {text!r:.80} ({error}). Start the file with the header {EXPECTED_HEADER}.",
            field="header",
            line=1,
        ) from error
    return [name.strip() for name in names]


def _text_options(columns: Columns) -> arrow_csv.ConvertOptions:
    types = dict.fromkeys(columns.names, pa.string()) | {columns.file_name: pa.binary()}
    return arrow_csv.ConvertOptions(column_types=types, include_columns=columns.names, strings_can_be_null=False)


def _named_rows(batch: pa.RecordBatch, columns: Columns, lines: NDArray[np.int64]) -> NamedRows:
    names, classes = batch.column(columns.file_name), batch.column(columns.predicted)
    probabilities = batch.column(columns.probability) if columns.probability else None
    if pa.compute.any(pa.compute.equal(names, b"")).as_py():  # blank lines, or a row without a name
        blank = pa.compute.and_(pa.compute.equal(names, b""), pa.compute.equal(classes, ""))
        rows = np.flatnonzero(~np.asarray(blank))
        names, classes, lines = names.take(pa.array(rows)), classes.take(pa.array(rows)), lines[rows]
        probabilities = None if probabilities is None else probabilities.take(pa.array(rows))
    return NamedRows(names, classes, probabilities, lines)

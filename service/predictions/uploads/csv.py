"""CSV with a header, read while it streams; every physical line is a row, so that errors name lines."""

import codecs
import csv as standard_csv
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from errata.errors import InvalidRow, InvalidUpload, Violation
from pyarrow import csv as arrow_csv

from service.predictions.uploads.bounded_stream import BoundedStream
from service.predictions.uploads.columns import Columns, find_columns
from service.predictions.uploads.rows import MAX_WRONG, NamedRows, check_row_count
from service.predictions.uploads.validation import SHOWN

HEADER_LIMIT = 64 << 10  # bytes
BLOCK_SIZE = 1 << 20  # bytes


def recognizes(head: bytes) -> bool:
    """Say whether text is taken for CSV: whatever no other format claims."""
    return not head.startswith((b"{", b"["))


def read(content: BoundedStream, images: int) -> Iterator[NamedRows]:
    """Yield the rows block by block; raise InvalidUpload, InvalidRow, or TooLarge for far more rows than images."""
    header = _header(content)
    columns = find_columns(header)
    ragged = _Ragged(len(header))
    try:
        reader = arrow_csv.open_csv(
            _Lines(content),
            read_options=arrow_csv.ReadOptions(use_threads=False, block_size=BLOCK_SIZE, column_names=header),
            parse_options=arrow_csv.ParseOptions(ignore_empty_lines=False, invalid_row_handler=ragged),
            convert_options=_as_text(columns),
        )
        number = 2  # the line of the next row
        for batch in reader:
            lines, number = ragged.lines(number, batch.num_rows)
            check_row_count(number - 2, images)
            yield _rows(batch, columns, lines)
        yield ragged.rows()
    except pa.ArrowInvalid as error:
        if len(ragged.skipped) >= MAX_WRONG or "Empty CSV file" in str(error):
            yield ragged.rows()
            return
        raise InvalidUpload(f"expected CSV, got {error!s:.200}", field="chunk") from error


class _Ragged:
    """Remembers the lines that have another number of columns than the header."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.skipped: list[int] = []
        self.first: list[Violation] = []

    def __call__(self, row: arrow_csv.InvalidRow) -> str:
        if len(self.skipped) >= MAX_WRONG:
            return "error"
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

    def rows(self) -> NamedRows:
        """Return no row, but what is wrong with those lines."""
        none = pa.array([], type=pa.binary())
        lines = np.zeros(0, dtype=np.int64)
        return NamedRows(none, none, None, lines, wrong=tuple(self.first), num_wrong=len(self.skipped))


class _Lines:
    """A stream as Arrow shall see it.

    What isn't UTF-8 becomes a question mark, so that its row can be named; a line break within quotes is refused, since
    it would shift the numbers of all later lines.
    """

    closed = False

    def __init__(self, content: BoundedStream) -> None:
        self._content = content
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = 2  # the number of the line that is being read
        self._open = False  # whether it has an odd number of quotes so far

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        pass

    def read(self, size: int = -1) -> bytes:
        while True:
            piece = self._content.read(max(size - 3, 1) if size >= 0 else size)  # 3 bytes may wait for their fourth
            if not piece.isascii() or self._decoder.getstate()[0]:
                text = self._decoder.decode(piece, final=not piece)
                if piece and not text:
                    continue
                piece = text.replace("\ufffd", "?").encode()
            self._check_quotes(piece)
            return piece

    def _check_quotes(self, piece: bytes) -> None:
        if b'"' in piece or self._open:
            *ended, last = piece.split(b"\n")
            for offset, line in enumerate(ended):
                if (line.count(b'"') % 2 == 1) != self._open:
                    number = self._line + offset
                    what = "expected quotes that close on their line, got an odd number of them"
                    raise InvalidRow(f"line {number}: {what}", violations=[Violation("row", what, number)])
                self._open = False
            self._open ^= last.count(b'"') % 2 == 1
        self._line += int(np.count_nonzero(np.frombuffer(piece, dtype=np.uint8) == 10))  # faster than bytes.count


def _header(content: BoundedStream) -> list[str]:
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

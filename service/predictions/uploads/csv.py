"""CSV, read as a stream. Each physical line is one row, so that errors can name lines."""

import codecs
import csv
from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pyarrow as pa
from errata.errors import InvalidRow, InvalidUpload, Violation
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv

from service.domain import LabelSpace
from service.predictions.uploads.bounded_stream import BoundedStream
from service.predictions.uploads.columns import EXPECTED_HEADER, Columns
from service.predictions.uploads.csv_header import MAX_HEADER, Header, parse_header
from service.predictions.uploads.descriptions import REPLACEMENT
from service.predictions.uploads.rows import MAX_VIOLATIONS, MAX_WRONG, NamedRows, check_row_count
from service.predictions.uploads.top_class import FIRST_COUNTS, check_list_of_classes, find_list, first_of_texts

MAX_LINE = 1 << 20  # bytes
# Minimum size of a block in bytes. With blocks of only 256 KiB, parsing 1.6 MB takes 5.0 ms instead of 4.0 ms.
BLOCK_SIZE = 2 << 20
MAX_BLOCK = 16 << 20  # bytes; U+FFFD can triple a piece of BLOCK_SIZE, and an unfinished line precedes it
DECIMAL_COMMA = r"^(\s*[0-9]+),([0-9]+(?:[eE][+-]?[0-9]+)?\s*)$"
BOM = b"\xef\xbb\xbf"


def recognizes(head: bytes) -> bool:
    """Return whether a file is read as CSV: any file that is not JSON. Other formats are recognized first."""
    return not head.startswith((b"{", b"["))


def read(content: BoundedStream, images: int, label_space: LabelSpace) -> Iterator[NamedRows]:
    """Yield blocks of rows; raise InvalidUpload or InvalidRow for invalid content, TooLarge for far too many rows."""
    line = _read_first_line(content)
    parser = _block_parser(line)
    header = parser.header
    ragged, num_rows = _RaggedLines(len(header.names), first_line=1 if header.is_missing else 2), 0
    for block, has_quotes in _read_blocks(content, ragged, line + b"\n" if header.is_missing else b""):
        try:
            batch = parser.parse(block, has_quotes, ragged)
        except pa.ArrowInvalid as error:
            if len(ragged.lines) >= MAX_WRONG:
                break
            raise InvalidUpload(
                f"The file is not valid CSV: {error!s:.200}. Write lines such as {EXPECTED_HEADER}.", field="chunk"
            ) from error
        first_line = ragged.next_line
        lines = ragged.number_lines(batch.num_rows)
        if has_quotes and ragged.next_line - first_line < block.count(b"\n") + (not block.endswith(b"\n")):
            number = _find_open_quotation(block, header.delimiter, first_line)
            raise _invalid_line(number, "A quotation continues on the next line. Close each quotation on its line.")
        rows = _named_rows(batch, header.columns, lines, header.delimiter, label_space)
        num_rows += len(rows.names)
        check_row_count(num_rows + len(ragged.lines), images)
        yield rows
    if ragged.lines:
        yield NamedRows.without_rows(tuple(ragged.violations), len(ragged.lines))


class _RaggedLines:
    """Numbers lines, and collects the lines that have more or fewer columns than the header."""

    def __init__(self, columns: int, first_line: int) -> None:
        self.columns = columns
        self.next_line = first_line  # number of the first line of the current block
        self.lines: list[int] = []
        self.violations: list[Violation] = []

    def __call__(self, row: arrow_csv.InvalidRow) -> str:
        if len(self.lines) >= MAX_WRONG:
            return "error"
        line = self.next_line + row.number - 1
        self.lines.append(line)
        if len(self.violations) < MAX_VIOLATIONS:
            description = f"Expected {self.columns} columns, got {row.actual_columns}: {row.text!r:.80}."
            self.violations.append(Violation("row", description, line))
        return "skip"

    def number_lines(self, count: int) -> NDArray[np.int64]:
        """Return the line numbers of the `count` valid rows of the current block, and advance to the next block."""
        skipped = self.lines[bisect_left(self.lines, self.next_line) :]
        lines = np.arange(self.next_line, self.next_line + count + len(skipped))
        self.next_line += len(lines)
        return lines[~np.isin(lines, skipped)] if skipped else lines


class _BlockParser:
    """Parses blocks of complete lines. File names become bytes; the other columns that Errata reads become text."""

    def __init__(self, header: Header) -> None:
        self.header = header
        columns = header.columns
        types = dict.fromkeys(columns.names, pa.string()) | {columns.file_name: pa.binary()}
        self._empty = pa.record_batch({name: pa.array([], type=type) for name, type in types.items()})
        self._read_options = arrow_csv.ReadOptions(use_threads=False, block_size=MAX_BLOCK, column_names=header.names)
        self._convert_options = arrow_csv.ConvertOptions(
            column_types=types,
            include_columns=columns.names,
            strings_can_be_null=False,
            check_utf8=False,  # blocks are valid UTF-8
        )

    def parse(self, block: bytes, has_quotes: bool, ragged: _RaggedLines) -> pa.RecordBatch:
        """Return the valid rows of a block; raise ArrowInvalid if Arrow cannot read it."""
        try:
            reader = arrow_csv.open_csv(
                pa.BufferReader(block),
                read_options=self._read_options,
                parse_options=arrow_csv.ParseOptions(
                    delimiter=self.header.delimiter,
                    quote_char='"' if has_quotes else False,  # Arrow is faster without quotes
                    ignore_empty_lines=False,
                    invalid_row_handler=ragged,
                ),
                convert_options=self._convert_options,
            )
            return next(iter(reader), self._empty)
        except pa.ArrowInvalid as error:
            if "Empty CSV file" in str(error):
                return self._empty
            raise


@lru_cache(maxsize=4)  # most files begin with one of a few lines; the longest one needs about 3 MB
def _block_parser(line: bytes) -> _BlockParser:
    """Return the parser of the files that begin with a line; raise InvalidUpload if its columns are unknown."""
    return _BlockParser(parse_header(line))


def _read_blocks(content: BoundedStream, ragged: _RaggedLines, start: bytes) -> Iterator[tuple[bytes, bool]]:
    """Yield blocks of complete lines in valid UTF-8, with `start` before them, and whether a block has quotes.

    The caller can parse a block while the next one is received. Bytes that are not UTF-8 become U+FFFD, so that an
    error can name their row.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest, is_end = start, False
    while not is_end:
        piece = content.read_at_least(BLOCK_SIZE)
        is_end = not piece
        if not piece.isascii() or decoder.getstate()[0]:
            piece = decoder.decode(piece, final=is_end).encode()
        rest += piece
        size = len(rest) if is_end else rest.rfind(b"\n") + 1
        _check_line_lengths(rest, ragged.next_line)
        if size:
            block, rest = rest[:size], rest[size:]
            has_quotes = b'"' in block
            if has_quotes:
                _check_quotes(block, ragged.next_line)
            # Arrow removes a byte order mark at the start of each block.
            yield BOM + block if ragged.next_line > 1 and block.startswith(BOM) else block, has_quotes


def _check_line_lengths(text: bytes, first_line: int) -> None:
    """Raise InvalidUpload for a line of more than MAX_LINE bytes. U+FFFD counts as the one byte that it replaced."""
    start = 0
    while len(text) - start > MAX_LINE:
        end = text.rfind(b"\n", start, start + MAX_LINE + 1)  # of the last line that ends within the limit
        if end < 0:
            end = text.find(b"\n", start)
            end = len(text) if end < 0 else end
            if end - start - 2 * text.count(REPLACEMENT.encode(), start, end) > MAX_LINE:
                line = first_line + text.count(b"\n", 0, start)
                raise InvalidUpload(
                    f"Line {line:,} is longer than 1 MB. Write one image per line, and check the line breaks and "
                    "quotation marks.",
                    field="chunk",
                    line=line,
                )
        start = end + 1


def _check_quotes(block: bytes, first_line: int) -> None:
    """Raise InvalidRow for a line break between quotes, because it would shift the numbers of all later lines."""
    for number, line in enumerate(block.split(b"\n"), start=first_line):
        if line.count(b'"') % 2 == 1:
            description = "The line has an odd number of quotation marks. Close each quotation on its line."
            raise _invalid_line(number, description)


def _find_open_quotation(block: bytes, delimiter: str, first_line: int) -> int:
    """Return the first line of a block whose last quotation is not closed."""
    for number, line in enumerate(block.decode(errors="replace").split("\n"), start=first_line):
        try:
            if '"' in line and len([*csv.reader([f"{line}\n", "next line"], delimiter=delimiter)]) == 1:
                return number
        except csv.Error:  # a value is longer than 128 KiB
            continue
    return first_line


def _invalid_line(line: int, description: str) -> InvalidRow:
    return InvalidRow(f"Line {line}: {description}", violations=[Violation("row", description, line)])


def _read_first_line(content: BoundedStream) -> bytes:
    line = content.read_line(MAX_HEADER)
    if line is None:
        raise InvalidUpload(
            f"Line 1 is longer than {MAX_HEADER:,} bytes. Start the file with the header {EXPECTED_HEADER}.",
            field="header",
            line=1,
        )
    return line


def _named_rows(
    batch: pa.RecordBatch, columns: Columns, lines: NDArray[np.int64], delimiter: str, label_space: LabelSpace
) -> NamedRows:
    names, classes = batch.column(columns.file_name), batch.column(columns.predicted)
    probabilities = batch.column(columns.probability) if columns.probability else None
    if pa.compute.min(pa.compute.binary_length(names)).as_py() == 0:  # there are blank lines, or a row has no name
        blank = pa.compute.and_(pa.compute.equal(names, b""), pa.compute.equal(classes, ""))
        rows = np.flatnonzero(~np.asarray(blank))
        names, classes, lines = names.take(pa.array(rows)), classes.take(pa.array(rows)), lines[rows]
        probabilities = None if probabilities is None else probabilities.take(pa.array(rows))
    assumptions = columns.assumptions
    class_texts = label_space.bracketed_texts
    index = None if columns.are_answers else find_list(classes, class_texts)
    if index is not None:
        try:
            check_list_of_classes(classes[index].as_py(), label_space.num_classes)
        except ValueError as error:
            line = int(lines[index])
            raise InvalidUpload(f"Line {line}: {error}", field="predicted_class", line=line) from error
        classes, scores = first_of_texts(classes, class_texts)
        if probabilities is None:
            probabilities = scores
        elif find_list(probabilities) is not None:
            probabilities, _ = first_of_texts(probabilities)
        assumptions = (*assumptions, FIRST_COUNTS)
    if probabilities is not None and delimiter != ",":
        with_points = pa.compute.replace_substring_regex(probabilities, DECIMAL_COMMA, r"\1.\2")
        if not with_points.equals(probabilities):
            probabilities, assumptions = with_points, (*assumptions, "The probabilities have decimal commas.")
    return NamedRows(
        names,
        classes,
        probabilities,
        lines,
        are_answers=columns.are_answers,
        is_numbered=columns.is_numbered,
        is_certain=columns.is_certain and index is None,
        assumptions=assumptions,
    )

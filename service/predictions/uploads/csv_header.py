"""The first line of a CSV file: a header with the names of the columns, or the first row of a file without one."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from errata.errors import InvalidUpload

from service.image_names import EXTENSION
from service.predictions.uploads.columns import EXPECTED_HEADER, Columns, find_columns, is_known_column
from service.predictions.uploads.descriptions import parse_number
from service.predictions.uploads.terms import CSV_TERMS

MAX_HEADER = 64 << 10  # bytes
SEPARATORS = {",": "", ";": "semicolons", "\t": "tabs"}
POSITIONS = ("file_name", "predicted_class", "predicted_probability")  # columns of a file without a header
IMAGE = re.compile(rf"{EXTENSION}$|\d{{3}}")  # many file names of images contain an extension, or three digits


@dataclass(frozen=True)
class Header:
    """The columns of a file."""

    delimiter: str
    names: tuple[str, ...]
    columns: Columns
    is_missing: bool = False  # whether the file has no header, so that the first line is a row


def parse_header(line: bytes) -> Header:
    """Return the columns of a file, given its first line; raise InvalidUpload if they are unknown."""
    text = _decode(line)
    rows = _split(text)
    delimiter = max(rows, key=lambda key: sum(is_known_column(name) for name in rows[key]))
    names = rows[delimiter]
    if not any(is_known_column(name) for name in names):
        without_header = {separator: row for separator, row in rows.items() if _is_row(row)}
        if without_header:
            separator = max(without_header, key=lambda key: len(without_header[key]))
            return _without_header(separator, without_header[separator])
        delimiter = max(rows, key=lambda key: len(rows[key]))
        names = rows[delimiter]
    columns = find_columns(names, CSV_TERMS, line=1)
    return Header(delimiter, tuple(names), _with_assumptions(columns, *_separator_assumption(delimiter)))


def _decode(line: bytes) -> str:
    try:
        text = line.decode("utf-8-sig").rstrip("\r")
    except UnicodeDecodeError as error:
        raise InvalidUpload(
            f"Line 1 is not UTF-8 text: {line[:40]!r}. Save the predictions as CSV in UTF-8.", field="header", line=1
        ) from error
    if not text.strip():
        raise InvalidUpload(
            f"Line 1 is empty. Start the file with the header {EXPECTED_HEADER}.", field="header", line=1
        )
    return text


def _split(text: str) -> dict[str, list[str]]:
    """Return the values of a line for each separator with which it is valid CSV."""
    rows, problem = {}, ""
    for delimiter in SEPARATORS:
        try:
            rows[delimiter] = [name.strip() for name in next(csv.reader([text], delimiter=delimiter, strict=True))]
        except csv.Error as error:
            problem = problem or str(error)
    if not rows:
        raise InvalidUpload(
            f"Line 1 is not a CSV header: {text!r:.80} ({problem}). Start the file with the header {EXPECTED_HEADER}.",
            field="header",
            line=1,
        )
    return rows


def _is_row(values: Sequence[str]) -> bool:
    """Return whether the values look like a file name, a class, and perhaps a probability."""
    if (
        len(values) not in (2, 3)
        or not values[1]
        or (len(values) == 3 and not 0 <= parse_number(values[2].replace(",", ".")) <= 1)
    ):
        return False
    return bool(IMAGE.search(values[0])) or values[1].isdecimal()


def _without_header(delimiter: str, values: Sequence[str]) -> Header:
    names = POSITIONS[: len(values)]
    contents = " and the predicted class" if len(values) == 2 else ", the predicted class, and its probability"
    missing = f"The file has no header; its columns are the file name{contents}."
    columns = Columns(*POSITIONS[:2], POSITIONS[2] if len(values) == 3 else None)
    return Header(delimiter, names, _with_assumptions(columns, *_separator_assumption(delimiter), missing), True)


def _separator_assumption(delimiter: str) -> tuple[str, ...]:
    return (f"The columns are separated by {SEPARATORS[delimiter]}.",) if SEPARATORS[delimiter] else ()


def _with_assumptions(columns: Columns, *assumptions: str) -> Columns:
    return replace(columns, assumptions=(*assumptions, *columns.assumptions))

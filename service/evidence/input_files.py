"""Read the files that users write for a build: text files of limited size, CSV with a header, and valid texts.

An error for a file is raised only after all problems of the file are collected with their lines.
"""

import csv
import difflib
import io
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from errata.errors import InvalidEvidence, Violation

from service.image_names import INVISIBLE

MAX_BYTES = 64 << 20
MAX_NAME = 1024  # characters of a file name
MAX_COLUMNS = 1_000  # of a table; of a JSON file: unknown keys that are compared with the known ones
MAX_SHOWN = 120  # characters of a header in a message
ZIP = b"PK\x03\x04"
MAX_VIOLATIONS = 10  # problems of one file that an error lists
OTHER_DELIMITERS = ";\t|"
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
Description = str | Callable[[], str]  # a function creates a slow description only if it is listed

_max_violations: ContextVar[int] = ContextVar("max_violations", default=MAX_VIOLATIONS)


@contextmanager
def list_more_violations(count: int) -> Iterator[None]:
    """Let errors list up to `count` problems of each file that is read inside the `with` block."""
    token = _max_violations.set(count)
    try:
        yield
    finally:
        _max_violations.reset(token)


class Problems:
    """The problems of one file. All problems are counted, but an error lists only the first ones."""

    def __init__(self, source: str, unit: str = "line") -> None:
        """Create an empty list.

        Args:
            source: Name of the file, for messages.
            unit: Unit of the numbers of the problems, such as "line", "row", or "class".
        """
        self.source = source
        self._unit = unit
        self._violations: list[Violation] = []
        self._count = 0

    def add(self, field: str, description: Description, line: int | None = None) -> None:
        """Add a problem of a field."""
        self._count += 1
        if len(self._violations) < _max_violations.get():
            text = description if isinstance(description, str) else description()
            self._violations.append(Violation(field, text, line, self._unit))

    def locate(self, line: int) -> str:
        """Return where another row is, for a description, such as "on line 7" or "in row 7"."""
        return f"{'on' if self._unit == 'line' else 'in'} {self._unit} {line}"

    def check(self) -> None:
        """Raise InvalidEvidence if there are problems; `violations` has the lines."""
        if not self._violations:
            return
        first = self._violations[0]
        where = "" if first.line is None else f", {self._unit} {first.line}"
        more = f" (and {self._count - 1:,} more)" if self._count > 1 else ""
        raise InvalidEvidence(f"{self.source}{where}: {first.description}{more}.", violations=self._violations)


def read_content(path: Path, field: str, limit: int = MAX_BYTES) -> bytes:
    """Return the content of a regular file. Its size is checked before it is read.

    Raises:
        InvalidEvidence: The file cannot be read or is too large.
    """
    try:
        flags = os.O_RDONLY | os.O_NONBLOCK  # opening a pipe must not block
        with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:  # unlike fdopen, closes a folder
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise InvalidEvidence(f"{path.name} is not a regular file. Pass the path of a file.", field=field)
            content = b"" if status.st_size > limit else file.read(limit + 1)
            size = max(status.st_size, len(content))
    except OSError as error:
        raise InvalidEvidence(f"Cannot read {path}: {error.strerror}. Check the path.", field=field) from error
    if size > limit:
        raise InvalidEvidence(
            f"{path.name} has {size / (1 << 20):,.1f} MiB. Expected at most {limit >> 20} MiB. Remove the columns and "
            "rows that are not needed.",
            field=field,
        )
    return content


def decode(content: bytes, source: str, field: str) -> str:
    """Return the text of a file, without a byte order mark; raise InvalidEvidence if it is not UTF-8."""
    if content.startswith(ZIP):
        raise InvalidEvidence(
            f"{source} is a ZIP archive, such as an Excel workbook. Save the table as a CSV file in UTF-8.", field=field
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidEvidence(
            f"{source}, line {line}: not UTF-8. Save the file as UTF-8.", field=field, line=line
        ) from error


def read_text(path: Path, field: str) -> str:
    """Return the text of a file of limited size."""
    return decode(read_content(path, field), path.name, field)


def check_containers(text: str, limit: int, source: str, field: str) -> None:
    """Raise InvalidEvidence if a JSON file has too many objects and lists, before they take much memory."""
    if text.count("{") + text.count("[") > limit:
        raise InvalidEvidence(
            f"{source} has more than {limit:,} objects and lists. Remove those that are not needed, or write CSV.",
            field=field,
        )


def csv_rows(
    text: str, problems: Problems, columns: Mapping[str, Sequence[str]], required: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield, for each row of a CSV file, the line on which it starts and its values by column.

    The values of a row are those of the columns in the header. A row with too many values becomes a problem.

    Args:
        text: The file.
        problems: Problems of the file.
        columns: Aliases of each column.
        required: Columns that the header must have.

    Raises:
        InvalidEvidence: The header is invalid or too long, or the file is not CSV.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    source = problems.source
    header: dict[str, int] = {}
    width, line = 0, 1
    empty_line = 0  # the first of the last rows, if these have only empty values
    try:
        for row in reader:
            start, line = line, reader.line_num + 1
            if not any(row):
                empty_line = empty_line or (start if row and width else 0)
                continue
            if empty_line:  # spreadsheets write such rows at the end, but here the row of a class or image is missing
                yield empty_line, dict.fromkeys(header, "")
                empty_line = 0
            if not width:
                if len(row) > MAX_COLUMNS:
                    raise InvalidEvidence(
                        f"{source}, line {start}: more than {MAX_COLUMNS:,} columns. Remove those that Errata does not "
                        "read.",
                        field="header",
                        line=start,
                    )
                header, width = find_columns([name.strip() for name in row], source, columns, required), len(row)
                continue
            if len(row) > width:
                problems.add("row", f"{len(row)} values in {width} columns; quote a value that contains a comma", start)
                continue
            row += [""] * (width - len(row))
            yield start, {name: row[position] for name, position in header.items()}
    except csv.Error as error:
        raise InvalidEvidence(
            f"{source}, line {line}: not valid CSV: {error}. Correct the quotation marks of this row.",
            field="row",
            line=line,
        ) from error
    if not width:
        find_columns([], source, columns, required)


def find_columns(
    names: Sequence[str], source: str, columns: Mapping[str, Sequence[str]], required: Sequence[str]
) -> dict[str, int]:
    """Return the position of each known column.

    Raises:
        InvalidEvidence: A required column is missing, occurs twice, or seems to be misspelled.
    """
    shown = ", ".join(map(repr, names))[:MAX_SHOWN] or "none"
    expected = f"Expected the header {','.join(columns)}; required: {', '.join(required)}."
    position_of: dict[str, int] = {}
    for column, aliases in columns.items():
        positions = [position for position, name in enumerate(names) if name in (column, *aliases)]
        if len(positions) > 1:
            raise InvalidEvidence(
                f"{source}, line 1: more than one column '{column}'. The file has {shown}. Keep one.",
                field=column,
                line=1,
            )
        if positions:
            position_of[column] = positions[0]
    similar_names = SimilarNames(columns)
    has_other_delimiter = len(names) == 1 and any(delimiter in names[0] for delimiter in OTHER_DELIMITERS)
    for name in [] if has_other_delimiter else names:
        similar = similar_names.find(name)
        if similar and not any(similar in (column, *columns[column]) for column in position_of):
            raise InvalidEvidence(
                f"{source}, line 1: unknown column {name!r:.60}. Rename it to '{similar}'.", field="header", line=1
            )
    missing = [column for column in required if column not in position_of]
    if missing:
        if has_other_delimiter:
            expected = "Separate the columns with commas."
        raise InvalidEvidence(
            f"{source}, line 1: missing column '{missing[0]}'. The file has {shown}. {expected}",
            field=missing[0],
            line=1,
        )
    return position_of


class SimilarNames:
    """Finds the columns that a file misspells.

    Compares each name once, and only the first MAX_COLUMNS unknown names, because a comparison takes up to 20 µs.

    Args:
        columns: Aliases of each known column.
    """

    def __init__(self, columns: Mapping[str, Sequence[str]]) -> None:
        self._known = [name for column, aliases in columns.items() for name in (column, *aliases)]
        self._similar_of = dict.fromkeys(self._known, "")

    def find(self, name: str) -> str:
        """Return the known name that an unknown name probably misspells; empty if there is none."""
        if name not in self._similar_of and len(self._similar_of) < len(self._known) + MAX_COLUMNS:
            form = name[:MAX_SHOWN].strip().lower().replace(" ", "_")
            self._similar_of[name] = next(iter(difflib.get_close_matches(form, self._known, n=1, cutoff=0.8)), "")
        return self._similar_of.get(name, "")


def text_problem(field: str, text: str, limit: int) -> str:
    """Return the problem of a text; empty if there is none."""
    if not text:
        return f"empty {field}; write a text"
    if len(text) > limit:
        return f"{field} has {len(text):,} characters; use at most {limit:,}"
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"{field} {text!r:.60} is not valid Unicode; correct it"
    if field != "file_name" and (invisible := re.search(f"[{INVISIBLE}]", text)):
        return f"invisible character U+{ord(invisible[0]):04X} in the {field} {text!r:.60}; remove it"
    if control := CONTROL.search(text):
        return f"control character U+{ord(control[0]):04X} in the {field} {text!r:.60}; remove it"
    return ""


def to_unique_dict(pairs: list[tuple[str, Any]], kind: str = "field") -> dict[str, Any]:
    """Return an object from its fields; raise ValueError if a field occurs twice. For use as `object_pairs_hook`."""
    unique = dict(pairs)
    if len(unique) < len(pairs):
        duplicate = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"duplicate {kind} {duplicate!r:.60}; write it once")
    return unique

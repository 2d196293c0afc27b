"""Read a mapping file: CSV `answer,class`. The file has priority over class names. An empty class means no class."""

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence

from errata.errors import InvalidRow, InvalidUpload, Violation
from errata.texts import surrogate_problem

from service.domain import LabelSpace, normalize_answer
from service.predictions.answers.matcher import AnswerMapping

FIELD = "answers_mapping"
HEADER = "answer,class"
MAX_BYTES = 1_000_000
MAX_ROWS = 20_000
MAX_VIOLATIONS = 10
MAX_FIELD = 1000  # maximum length of an answer in characters


def parse_mapping(text: str, label_space: LabelSpace) -> AnswerMapping:
    """Return the content of a mapping file; an empty text means that there is no file.

    Raises:
        InvalidUpload: The file is too large, or it is not CSV with the columns `answer` and `class`.
        InvalidRow: Some rows are invalid.
    """
    if not text:
        return AnswerMapping()
    if problem := surrogate_problem(text):
        raise _invalid(problem)
    if len(text.encode()) > MAX_BYTES:
        raise _invalid(
            f"The mapping file is larger than {MAX_BYTES / 1e6:g} MB. Remove answers that contain the name of their "
            "class."
        )
    rows = _read_rows(text.removeprefix("\ufeff"))
    line, header = next(rows, (1, []))
    names = [name.strip() for name in header]
    if not {"answer", "class"} <= {*names}:
        raise _invalid(f"Line {line} of the mapping file is {','.join(names)!r:.80}. Write the header {HEADER}.")
    classes: dict[str, int | None] = {}
    line_of: dict[str, int] = {}
    violations: list[Violation] = []
    for line, values in rows:
        if len(line_of) == MAX_ROWS:
            raise _invalid(
                f"The mapping file has more than {MAX_ROWS:,} rows. Remove answers that contain the name of "
                "their class."
            )
        row = dict(zip(names, values, strict=False))
        answer, class_text = row.get("answer", ""), row.get("class", "").strip()
        key = normalize_answer(answer[:MAX_FIELD])
        class_index = label_space.parse(class_text) if class_text else None
        if invalid := _find_problem(names, values, key, class_index, label_space):
            violations.append(Violation(*invalid, line))
        elif line_of.setdefault(key, line) != line and classes[key] != class_index:
            problem = f"Answer {answer!r:.80} has another class on line {line_of[key]}. Keep one of the lines."
            violations.append(Violation("answer", problem, line))
        classes.setdefault(key, class_index)
    if violations:
        first = violations[0]
        message = f"Line {first.line} of the mapping file: {first.description}"
        raise InvalidRow(message, violations=violations[:MAX_VIOLATIONS])
    return AnswerMapping(classes)


def digest_mapping(text: str) -> str:
    """Return the SHA-256 of a mapping file; empty if there is no file."""
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


def _read_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield, for each row that is not an empty line, the line on which it starts and its values."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for values in reader:
            if values:
                yield line, values
            line = reader.line_num + 1
    except csv.Error as error:
        message = f"Line {line} of the mapping file is not CSV: {error}. Quote texts that contain commas."
        raise _invalid(message) from error


def _find_problem(
    names: Sequence[str], values: Sequence[str], key: str, class_index: int | None, label_space: LabelSpace
) -> tuple[str, str] | None:
    """Return the field and the problem of a row; None if it is valid.

    Args:
        names: The columns.
        values: The values of the row. There can be more or fewer than columns.
        key: The normalized answer.
        class_index: The class; None if the row has no class or an unknown one.
        label_space: The classes.
    """
    row = dict(zip(names, values, strict=False))
    answer, class_text = row.get("answer"), row.get("class")
    if len(values) > len(names) or answer is None or class_text is None:
        number = "too many" if len(values) > len(names) else "too few"
        remedy = "Quote answers that contain commas, and write ANSWER, for an answer without a class."
        return "answer", f"Row {','.join(values)!r:.80} has {number} columns. {remedy}"
    if len(answer) > MAX_FIELD:
        problem = (
            f"Answer {answer[:40]!r} has {len(answer):,} characters. Use at most {MAX_FIELD:,}, or remove the row."
        )
        return "answer", problem
    if not key:
        return "answer", f"Answer {answer!r:.80} has no letters or digits. Remove the row."
    if class_text.strip() and class_index is None:
        shown = f"{class_text.strip()!r:.80}"
        classes = label_space.match(class_text)
        problem = f"Class {shown} can mean {label_space.describe(classes)}." if classes else f"Unknown class {shown}."
        return "class", f"{problem} Write an ID, an index, or a unique name."
    return None


def _invalid(message: str) -> InvalidUpload:
    return InvalidUpload(message, field=FIELD)

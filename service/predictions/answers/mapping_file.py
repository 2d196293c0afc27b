"""Read a mapping file: CSV `answer,class`. The file has priority over class names. An empty class means no class."""

import csv
import hashlib
import io
from collections.abc import Mapping
from typing import Any

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
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    classes: dict[str, int | None] = {}
    line_of: dict[str, int] = {}
    violations: list[Violation] = []
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        if not {"answer", "class"} <= {*names}:
            raise _invalid(f"Line 1 of the mapping file is {','.join(names)!r:.80}. Write the header {HEADER}.")
        reader.fieldnames = names
        for row in reader:
            if len(line_of) == MAX_ROWS:
                raise _invalid(
                    f"The mapping file has more than {MAX_ROWS:,} rows. Remove answers that contain the name of "
                    "their class."
                )
            answer, class_text = row["answer"] or "", (row["class"] or "").strip()
            key = normalize_answer(answer[:MAX_FIELD])
            class_index = label_space.parse(class_text) if class_text else None
            if invalid := _find_problem(row, key, class_index):
                violations.append(Violation(*invalid, reader.line_num))
            elif line_of.setdefault(key, reader.line_num) != reader.line_num and classes[key] != class_index:
                problem = f"Answer {answer!r:.80} has another class on line {line_of[key]}. Keep one of the lines."
                violations.append(Violation("answer", problem, reader.line_num))
            classes.setdefault(key, class_index)
    except csv.Error as error:
        line = reader.line_num + 1  # line_num is that of the row before
        message = f"Line {line} of the mapping file is not CSV: {error}. Quote texts that contain commas."
        raise _invalid(message) from error
    if violations:
        first = violations[0]
        message = f"Line {first.line} of the mapping file: {first.description}"
        raise InvalidRow(message, violations=violations[:MAX_VIOLATIONS])
    return AnswerMapping(classes)


def digest_mapping(text: str) -> str:
    """Return the SHA-256 of a mapping file; empty if there is no file."""
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


def _find_problem(row: Mapping[str | None, Any], key: str, class_index: int | None) -> tuple[str, str] | None:
    """Return the field and the problem of a row; None if it is valid.

    Args:
        row: The values by column, as csv.DictReader returns them: the key None has the surplus values, and a missing
            value is None.
        key: The normalized answer.
        class_index: The class; None if the row has no class or an unknown one.
    """
    answer, class_text = row["answer"], row["class"]
    if None in row or answer is None or class_text is None:
        text = ",".join(value for value in [*row.values(), *row.get(None, ())] if isinstance(value, str))
        remedy = "Quote answers that contain commas, and write ANSWER, for an answer without a class."
        return "answer", f"Row {text!r:.80} has {'too many' if None in row else 'too few'} columns. {remedy}"
    if len(answer) > MAX_FIELD:
        problem = (
            f"Answer {answer[:40]!r} has {len(answer):,} characters. Use at most {MAX_FIELD:,}, or remove the row."
        )
        return "answer", problem
    if not key:
        return "answer", f"Answer {answer!r:.80} has no letters or digits. Remove the row."
    if class_text.strip() and class_index is None:
        problem = f"Class {class_text.strip()!r:.80} is not a class, or can mean several classes."
        return "class", f"{problem} Write an ID, an index, or a unique name."
    return None


def _invalid(message: str) -> InvalidUpload:
    return InvalidUpload(message, field=FIELD)

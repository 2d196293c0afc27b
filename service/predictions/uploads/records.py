"""Rows from JSON values: the file name, the class, and the probability of each, collected in blocks."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from errata.errors import Violation
from errata.texts import surrogate_problem

from service.predictions.uploads.columns import PROBABILITY, Columns
from service.predictions.uploads.rows import MAX_VIOLATIONS, MAX_WRONG, SOME_MISSING, NamedRows
from service.predictions.uploads.terms import FormatTerms
from service.predictions.uploads.top_class import top_class

PATH_KEYS = ("path", "file_name")  # keys of the path in an image that is an object, as in data sets of Hugging Face
JSON_TYPES = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}

Row = tuple[bytes, str, str | None]


class RecordParser:
    """Parses objects with the same columns. `class_of_integer` returns the text of a class that is an integer."""

    def __init__(
        self, columns: Columns, terms: FormatTerms, num_classes: int, class_of_integer: Callable[[int], str] = str
    ) -> None:
        self.columns = columns
        self._terms = terms
        self.assumptions = dict.fromkeys(columns.assumptions)
        self._num_classes = num_classes
        self._class_of_integer = class_of_integer

    def parse(self, raw: dict[str, Any]) -> Row:
        """Return the name, class, and probability of an object; raise ValueError with the problem and the remedy."""
        columns = self.columns
        name = raw.get(columns.file_name)
        if isinstance(name, dict):
            raw = raw | {columns.file_name: next((name[key] for key in PATH_KEYS if key in name), None)}
        file_name = self._text(raw, columns.file_name).encode()
        if columns.are_answers:
            class_text, probability = self._text(raw, columns.predicted), None
        else:
            class_text, probability = self._parse_class(raw, columns.predicted)
        if columns.probability:
            probability = self._text(raw, columns.probability)
        else:
            self._check_late_probability(raw)
        return file_name, class_text, probability

    def _parse_class(self, raw: dict[str, Any], key: str) -> tuple[str, str | None]:
        """Return the class of an object, and the probability if the value of the class includes one."""
        value, probability = raw.get(key), None
        if isinstance(value, list | dict | float):
            top = top_class(value, self._num_classes)
            self.assumptions |= dict.fromkeys(top.assumptions)
            value, probability = top.value, top.probability
            raw = {key: value}
        text = self._class_of_integer(value) if type(value) is int else self._text(raw, key)
        return text, None if probability is None else str(probability)

    def _text(self, raw: dict[str, Any], key: str) -> str:
        if key not in raw:
            raise ValueError(f"Missing key {key!r:.80}. Write the keys of the first object in every {self._terms.row}.")
        value = raw[key]
        if value is None or isinstance(value, (dict, list, bool)):
            raise ValueError(f"Key {key!r:.80} is {json_type(value)}. Expected a string or a number.")
        text = str(value)
        if problem := surrogate_problem(text):
            raise ValueError(problem)
        return text

    def _check_late_probability(self, raw: dict[str, Any]) -> None:
        late = [name for name in PROBABILITY[0] if name in raw]
        if late:
            raise ValueError(
                f"Key {late[0]!r} is missing in the first object. Write it in every {self._terms.row} or in none."
            )


class RowCollector:
    """Collects valid rows, and descriptions of wrong rows."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._lines: list[int] = []
        self._wrong: list[Violation] = []

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def is_full(self) -> bool:
        """Return whether there are so many wrong rows that reading should stop."""
        return len(self._wrong) >= MAX_WRONG

    def add(self, line: int, row: Row) -> None:
        """Add a row."""
        self._rows.append(row)
        self._lines.append(line)

    def add_wrong(self, line: int, description: str) -> None:
        """Add the description of a wrong row."""
        self._wrong.append(Violation("row", description, line))

    def to_rows(self, parser: RecordParser | None) -> NamedRows:
        """Return the rows that `parser` parsed as a block. The block has probabilities if every row has one."""
        wrong = tuple(self._wrong[:MAX_VIOLATIONS])
        assumptions = () if parser is None else tuple(parser.assumptions)
        if parser is None or not self._rows:
            return NamedRows.without_rows(wrong, len(self._wrong), assumptions)
        names, classes, probabilities = zip(*self._rows, strict=True)
        has_probabilities = None not in probabilities
        if not has_probabilities and any(probability is not None for probability in probabilities):
            assumptions = (*assumptions, SOME_MISSING)
        return NamedRows(
            names=pa.array(names, type=pa.binary()),
            classes=pa.array(classes, type=pa.string()),
            probabilities=pa.array(probabilities, type=pa.string()) if has_probabilities else None,
            lines=np.array(self._lines, dtype=np.int64),
            wrong=wrong,
            num_wrong=len(self._wrong),
            are_answers=parser.columns.are_answers,
            is_numbered=parser.columns.is_numbered,
            is_certain=parser.columns.is_certain,
            assumptions=assumptions,
        )


def json_type(value: object) -> str:
    """Return the type of a JSON value, with an article."""
    return JSON_TYPES.get(type(value), "a number")

"""Validity rules for classes. They apply to files that users write and to the files of bundles."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.domain import ALL, MAX_CLASSES, MAX_GROUPS, MIN_CLASSES
from service.evidence.input_files import text_problem

MAX_TEXT = 1_000  # characters of a name
MAX_VALUES = 100  # synonyms, superclasses, or groups of one class
LISTS = ("synonyms", "superclasses", "groups")
_SYNSET = re.compile(r"n[0-9]{8}")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class ClassProblem:
    """A problem of the classes: its row (None: it concerns all rows), its field, and its description."""

    row: int | None
    field: str
    description: str


def find_problems(rows: Sequence[Row], places: Sequence[str]) -> Iterator[ClassProblem]:
    """Yield all problems of classes.

    Args:
        rows: One mapping per class with `id`, `name`, `synonyms`, `superclasses`, `groups`, and `synset`.
        places: The place of each row in its file, such as "line 2", for messages.
    """
    if not MIN_CLASSES <= len(rows) <= MAX_CLASSES:
        yield ClassProblem(None, "classes", describe_count(len(rows)))
        return
    first_row: dict[str, int] = {}
    groups: dict[str, None] = {}
    superclasses: set[str] = set()
    for number, row in enumerate(rows):
        problems = [*_row_problems(row)]
        yield from (ClassProblem(number, field, description) for field, description in problems)
        if problems:
            continue
        if (first := first_row.setdefault(row["id"], number)) != number:
            yield ClassProblem(number, "id", _duplicate_id(row, places[first]))
        new = [group for group in row["groups"] if group not in groups]
        groups.update(dict.fromkeys(new))
        if new and len(groups) > MAX_GROUPS:
            yield ClassProblem(
                number, "groups", f"{new[-1]!r:.60} is group number {len(groups)}; use at most {MAX_GROUPS} groups"
            )
        superclasses.update(row["superclasses"])
    if len(superclasses) > MAX_CLASSES:
        description = f"{len(superclasses):,} superclasses; use at most {MAX_CLASSES:,}"
        yield ClassProblem(None, "superclasses", description)


def describe_count(count: int, prefix: str = "") -> str:
    """Return the problem of too few or too many classes; `prefix` is a text before the number."""
    noun, remedy = "class" if count == 1 else "classes", "add" if count < MIN_CLASSES else "remove"
    return f"{prefix}{count:,} {noun}; a label space has {MIN_CLASSES} to {MAX_CLASSES:,}: {remedy} classes"


def _row_problems(row: Row) -> Iterator[tuple[str, str]]:
    is_default_id = row["id"] == row["name"]
    for field in ("name",) if is_default_id else ("id", "name"):
        if problem := _text_problem(field, row[field]):
            yield field, problem
    for field in LISTS:
        values = row[field]
        if not isinstance(values, list):
            yield field, f"{field} is {values!r:.40}; write a list of texts"
            continue
        if len(values) > MAX_VALUES:
            yield field, f"{len(values):,} {field}; use at most {MAX_VALUES}"
        if problem := next(filter(None, (_text_problem(field, value) for value in values)), ""):
            yield field, problem
        elif field == "groups" and ALL in map(str.lower, values):
            yield field, f"the group {ALL!r} is reserved for all images; use another name"
    synset = row["synset"]
    if not isinstance(synset, str) or (synset and not _SYNSET.fullmatch(synset)):
        yield "synset", f"invalid synset {synset!r:.40}; use a WordNet 3.0 ID such as n02084071, or leave it empty"


def _text_problem(field: str, value: object) -> str:
    return text_problem(field, value, MAX_TEXT) if isinstance(value, str) else f"{field} {value!r:.40} is not a text"


def _duplicate_id(row: Row, place: str) -> str:
    if row["id"] == row["name"]:
        return (
            f"duplicate name {row['name']!r:.60}, also on {place}; without an id, names must be unique: "
            "add an `id` column with a distinct value for each class"
        )
    return f"duplicate id {row['id']!r:.60}, also on {place}; use a distinct value for each class"

"""The rows of a file of labels: CSV, JSON {file_name: [labels]}, an array of JSON objects, JSON lines, and Parquet."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from errata.errors import InvalidEvidence
from errata.json_input import parse_json

from service.evidence.input_files import (
    MAX_SHOWN,
    Problems,
    SimilarNames,
    check_containers,
    csv_rows,
    decode,
    read_content,
    to_unique_dict,
)
from service.evidence.parquet_labels import to_json_lines

COLUMNS: Mapping[str, Sequence[str]] = {"file_name": (), "target": (), "labels": ("label",), "problematic": ()}
REQUIRED = ("file_name", "labels")
PARQUET_SIGNATURE = b"PAR1"
MAX_CONTAINERS = 5_000_000  # objects and lists of a JSON file: an image has one or two, and a file 2,000,000 images


@dataclass(frozen=True)
class LabelRow:
    """One image: its name, original label, labels, and why it is problematic."""

    line: int
    name: str
    target: str | None  # None: the first label
    labels: str | list[str]  # one field with all labels, or a list of labels
    reason: str | None  # why the image is problematic; empty: it is not; None: the file does not say


def read_rows(path: Path) -> tuple[Iterator[LabelRow], Problems]:
    """Return the rows of a file of labels, and its problems. Iterating over the rows adds to the problems.

    Raises:
        InvalidEvidence: The file cannot be read or has another format.
    """
    content = read_content(path, "labels")
    if content.startswith(PARQUET_SIGNATURE):
        problems = Problems(path.name, "row")
        return _from_json_lines(to_json_lines(content, path.name), problems), problems
    text = decode(content, path.name, "labels")
    start = text.lstrip()[:1]
    if start not in ("[", "{"):
        problems = Problems(path.name)
        return _from_csv(text, problems), problems
    check_containers(text, MAX_CONTAINERS, path.name, "labels")
    if start == "[":
        problems = Problems(path.name, "image")
        return _from_json_array(text, problems), problems
    if _is_json_lines(text):
        problems = Problems(path.name)
        return _from_json_lines(text, problems), problems
    problems = Problems(path.name, "image")
    return _from_json(text, problems), problems


def _from_csv(text: str, problems: Problems) -> Iterator[LabelRow]:
    for line, values in csv_rows(text, problems, COLUMNS, REQUIRED):
        reason = values["problematic"].strip() if "problematic" in values else None
        yield LabelRow(line, values["file_name"], values.get("target"), values["labels"], reason)


def _is_json_lines(text: str) -> bool:
    """Return whether the first line is a JSON object that describes one image, or that other lines follow."""
    line, _, others = text.strip().partition("\n")
    try:
        first = parse_json(line)
    except ValueError:
        return False
    return isinstance(first, dict) and (bool(others) or isinstance(first.get("file_name"), str))


def _from_json_lines(text: str, problems: Problems) -> Iterator[LabelRow]:
    similar_names = SimilarNames(COLUMNS)
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            raw = parse_json(line, to_unique_dict)
        except ValueError as error:
            problems.add("row", f"not valid JSON: {error!s:.80}; write one object per line", number)
            continue
        yield from _row_of(raw, number, problems, similar_names)


def _row_of(raw: Any, number: int, problems: Problems, similar_names: SimilarNames) -> Iterator[LabelRow]:
    """Yield the row of a JSON object, which can come from a Parquet table, or add its problem."""
    if not isinstance(raw, dict):
        return problems.add("row", f'{raw!r:.40} is not an object; write {{"file_name": …, "labels": […]}}', number)
    name, target, reason = raw.get("file_name"), raw.get("target"), raw.get("problematic")
    labels = raw.get("labels", raw.get("label"))
    labels = [] if labels is None else labels
    values = labels if isinstance(labels, list) else [labels]
    if problem := key_problem([*raw], similar_names):
        problems.add("row", problem, number)
    elif "file_name" not in raw:
        keys = ", ".join(map(repr, raw))[:MAX_SHOWN] or "no keys"
        problems.add("file_name", f"missing key 'file_name'; the object has {keys}; rename the key of the name", number)
    elif not isinstance(name, str):
        problems.add("file_name", f"{name!r:.40} is not a text; write the name of an image", number)
    elif not all(map(_is_class, values)):
        problems.add("labels", f"{labels!r:.60} is not a list of classes; write a list of texts or numbers", number)
    elif not _is_class(target) and (target is not None or "target" in raw):
        problems.add("target", f"{target!r:.40} is not a class; write a text or a number", number)
    elif not isinstance(reason, str | bool | None):
        problems.add("problematic", f"{reason!r:.40} is not a text; write why the image is set aside", number)
    else:
        is_field = isinstance(labels, str)
        text = reason.strip() if isinstance(reason, str) else "problematic" * bool(reason)
        yield LabelRow(
            line=number,
            name=name,
            target=None if target is None else str(target),
            labels=labels if is_field else [str(value) for value in values],
            reason=text if "problematic" in raw else None,
        )


def key_problem(keys: Sequence[str], similar_names: SimilarNames, noun: str = "key") -> str:
    """Return the problem of the keys of an object or the columns of a table (`noun`); empty if there is none."""
    if "labels" in keys and "label" in keys:
        return f"it has the {noun}s labels and label; keep one"
    for key in keys:
        if similar := similar_names.find(key):
            return f"unknown {noun} {key!r:.40}; rename it to {similar!r}"
    return ""


def _from_json_array(text: str, problems: Problems) -> Iterator[LabelRow]:
    similar_names = SimilarNames(COLUMNS)
    for number, raw in enumerate(_parse_document(text, to_unique_dict, problems.source), start=1):
        yield from _row_of(raw, number, problems, similar_names)


def _parse_document(text: str, to_dict: Callable[[list[tuple[str, Any]]], dict[str, Any]], source: str) -> Any:
    try:
        return parse_json(text, to_dict)
    except ValueError as error:
        raise InvalidEvidence(
            f"{source}: not valid JSON: {error!s:.100}. Write an object {{file_name: [labels]}}.", field="labels"
        ) from error


def _from_json(text: str, problems: Problems) -> Iterator[LabelRow]:
    raw = _parse_document(text, partial(to_unique_dict, kind="image"), problems.source)
    for number, (name, labels) in enumerate(raw.items(), start=1):
        if isinstance(labels, list) and all(map(_is_class, labels)):
            yield LabelRow(number, name, None, [str(label) for label in labels], reason=None)
        else:
            problems.add("labels", f"{name!r:.60}: {labels!r:.60} is not a list of classes; write a list", number)


def _is_class(value: object) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)

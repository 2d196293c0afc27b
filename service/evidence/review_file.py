"""Read a file of reviews: JSON lines in the format of `errata review export`."""

import hashlib
import json
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from errata.errors import InvalidRequest
from errata.json_input import parse_json

from service.domain import Review
from service.evidence.bundle import Bundle
from service.evidence.input_files import Problems, decode, read_content, to_unique_dict

MAX_BYTES = 256 << 20
# A time after LATEST cannot be converted to all time zones.
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
_FIELDS = {field.name for field in fields(Review)}
_REQUIRED = ("image", "reviewer", "time")
_TEXTS = ("id", "dataset", "image", "evidence", "reviewer", "time", "reason", "comment", "undoes")
_LISTS = ("confirmed", "added", "rejected")


def read_reviews(path: Path, bundle: Bundle) -> list[Review]:
    """Read the reviews of a file.

    Args:
        path: The file.
        bundle: The bundle whose images were reviewed. Reviews may also concern images that the bundle does not have.

    Raises:
        InvalidEvidence: The file cannot be read, or has invalid lines; `violations` has the lines.
    """
    text = decode(read_content(path, "reviews", MAX_BYTES), path.name, "reviews")
    problems = Problems(path.name)
    reviews: dict[str, Review] = {}
    classes = {*bundle.label_space.ids}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            review = parse_review(line, bundle)
        except InvalidRequest as error:
            problems.add(error.violations[0].field, error.message.removesuffix("."), number)
            continue
        unknown = {class_id for name in _LISTS for class_id in getattr(review, name)} - classes
        if unknown:
            problem = f"{min(unknown)!r:.60} is no class ID of {bundle.label_space.name!r:.60}"
            problems.add("row", f"{problem}; write an ID, as `errata review export` does", number)
        elif reviews.setdefault(review.id, review) != review:
            problems.add("id", f"another line has the ID {review.id!r:.60}; correct the ID", number)
    problems.check()
    return list(reviews.values())


def parse_review(line: str | bytes, bundle: Bundle) -> Review:
    """Return the review of a line. The classes of the review are not checked.

    The data set and the evidence can be missing. If the ID is missing, it becomes a digest of the content.

    Args:
        line: The line.
        bundle: The bundle whose images were reviewed.

    Raises:
        InvalidRequest: The line is not JSON, or a field is missing, unknown, or invalid.
    """
    try:
        parsed = parse_json(line, to_unique_dict)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            f"The line is not JSON ({error!s:.80}). Write lines as 'errata review export' does.", field="row"
        ) from error
    except ValueError as error:
        raise InvalidRequest(f"Invalid JSON: {error!s:.120}.", field="row") from error
    raw = _checked_fields(parsed)
    if raw["dataset"] not in ("", bundle.dataset):
        raise InvalidRequest(
            f"The data set is {raw['dataset']!r:.60}, not {bundle.dataset}. Remove this line.", field="dataset"
        )
    try:
        time = datetime.fromisoformat(raw["time"])
    except ValueError as error:
        raise InvalidRequest(
            f"The time {raw['time']!r:.40} is invalid. Write a time such as 2026-01-31T12:00:00+00:00.", field="time"
        ) from error
    if time.tzinfo is None:
        raise InvalidRequest(
            f"The time {raw['time']!r:.40} has no zone. Write a time such as 2026-01-31T12:00:00+00:00.", field="time"
        )
    if not EARLIEST <= time <= LATEST:
        raise InvalidRequest(f"The time {raw['time']!r:.40} is before 1970 or after 9998. Correct it.", field="time")
    values = raw | {name: tuple(raw[name]) for name in _LISTS}
    values["id"] = raw["id"] or hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()[:32]
    return Review(**values | {"time": time, "dataset": bundle.dataset, "evidence": raw["evidence"] or bundle.digest})


def _checked_fields(raw: object) -> dict[str, Any]:
    """Return all fields of a line; raise InvalidRequest if one is missing, unknown, or of another type."""
    if not isinstance(raw, dict):
        raise InvalidRequest(f"{raw!r:.40} is not an object. Write one review per line.", field="row")
    if unknown := sorted(raw.keys() - _FIELDS):
        raise InvalidRequest(f"Unknown field {unknown[0]!r:.60}. Remove it.", field="row")
    defaults: dict[str, Any] = dict.fromkeys(_TEXTS, "") | {name: [] for name in _LISTS}
    values = defaults | {"problematic": None, "is_authenticated": False} | raw
    for name in _REQUIRED:
        if not str(values[name]).strip():
            raise InvalidRequest(f"The field {name} is missing. Write it.", field=name)
    for name in _TEXTS:
        if not isinstance(values[name], str):
            raise InvalidRequest(f"The field {name} is {values[name]!r:.40}. Write a text.", field=name)
    for name in _LISTS:
        if not isinstance(values[name], list) or not all(isinstance(text, str) for text in values[name]):
            raise InvalidRequest(f"The field {name} is {values[name]!r:.40}. Write a list of classes.", field=name)
    if not isinstance(values["problematic"], bool | None) or not isinstance(values["is_authenticated"], bool):
        raise InvalidRequest("The fields problematic and is_authenticated must be true or false.", field="problematic")
    for name, length in (("id", 32), ("evidence", 64)):
        text = values[name]
        if text and (len(text) != length or not set(text) <= set("0123456789abcdef")):
            raise InvalidRequest(f"The field {name} is {text!r:.40}. Write {length} hexadecimal digits.", field=name)
    return values

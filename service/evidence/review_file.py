"""Read a file of reviews: JSON lines, as `errata review export` writes them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from errata.json_input import parse_json
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from service.domain import Review
from service.evidence.bundle import Bundle
from service.evidence.input_files import Problems, decode, read_content

MAX_BYTES = 256 << 20
_LISTS = ("confirmed", "added", "rejected")
_DEFAULTS: Mapping[str, Any] = {"id": "", "dataset": "", "evidence": "", "is_authenticated": False}


@dataclass(config=ConfigDict(extra="forbid"), frozen=True)
class _Row(Review):
    """A review, without unknown fields."""


_ROW = TypeAdapter(_Row)


def read_reviews(path: Path, bundle: Bundle) -> list[Review]:
    """Read the reviews of a file. A review without an ID gets one that follows from its content.

    Args:
        path: The file.
        bundle: The bundle whose images were reviewed. Reviews of its data set may be of other images.

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
            review = _parse(line, bundle)
        except (ValueError, TypeError) as error:
            problems.add("row", _describe(error), number)
            continue
        unknown = {class_id for name in _LISTS for class_id in getattr(review, name)} - classes
        if review.dataset != bundle.dataset:
            problem = f"the data set is {review.dataset!r:.60}, not {bundle.dataset!r:.60}; remove the line"
            problems.add("dataset", problem, number)
        elif unknown:
            problems.add("row", f"{min(unknown)!r:.60} is no class ID of {bundle.label_space.name!r:.60}", number)
        elif review.time.tzinfo is None:
            problems.add("time", "the time has no zone; write a time such as 2026-01-31T12:00:00Z", number)
        elif reviews.setdefault(review.id, review) != review:
            problems.add("id", f"another line has the ID {review.id!r:.60}; correct it", number)
    problems.check()
    return list(reviews.values())


def _parse(line: str, bundle: Bundle) -> Review:
    raw = parse_json(line)
    if not isinstance(raw, dict):
        raise ValueError(f"{raw!r:.40} is not an object; write one review per line")
    values = {**_DEFAULTS, **raw}
    values["id"] = values["id"] or hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()[:32]
    values["dataset"] = values["dataset"] or bundle.dataset
    values["evidence"] = values["evidence"] or bundle.digest
    row = _ROW.validate_python(values)
    return Review(**{name: getattr(row, name) for name in Review.__dataclass_fields__})


def _describe(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))!s:.60}: {first['msg']!s:.100}"
    return f"{error!s:.120}"

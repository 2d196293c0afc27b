"""The classes of a label space as lines of text. Workers read them, because they have no evidence bundles."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from service.domain.label_space import IMAGENET_1K, MAX_CLASSES, MIN_CLASSES, LabelSpace, create_label_space


def class_lines(label_space: LabelSpace) -> list[str]:
    """Return one line for each class: its ID, name, and synonyms as a JSON array."""
    rows = zip(label_space.ids, label_space.names, label_space.synonyms, strict=True)
    return [json.dumps([id_, name, *synonyms], separators=(",", ":")) for id_, name, synonyms in rows]


def classes_digest(label_space: LabelSpace) -> str:
    """Return the SHA-256 of the ordered classes that stored predictions refer to; empty for ImageNet-1k.

    Superclasses, groups, and overlaps do not change what a prediction means.
    """
    if label_space.name == IMAGENET_1K:
        return ""
    return hashlib.sha256("\n".join(class_lines(label_space)).encode()).hexdigest()


def parse_class_lines(name: str, lines: Sequence[str]) -> LabelSpace:
    """Return a label space without relations between its classes.

    Raises:
        ValueError: The lines do not have the format that `class_lines` writes.
    """
    if not MIN_CLASSES <= len(lines) <= MAX_CLASSES:
        raise ValueError(f"expected {MIN_CLASSES} to {MAX_CLASSES} classes, got {len(lines)}")
    rows = [json.loads(line) for line in lines]
    for row in rows:
        if not isinstance(row, list) or len(row) < 2 or not all(isinstance(text, str) for text in row):
            raise ValueError(f"expected an array of texts for each class, got {row!r:.80}")
    if len({row[0] for row in rows}) < len(rows):
        raise ValueError("expected distinct IDs of classes")
    none: dict[str, Any] = {"superclasses": (), "groups": (), "synset": ""}
    return create_label_space(name, [none | {"id": row[0], "name": row[1], "synonyms": row[2:]} for row in rows])

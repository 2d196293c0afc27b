"""The label space of a bundle as JSON: the format of a file of classes, with the name of the label space.

{"name": …, "classes": [{"id", "name", "synonyms", "superclasses", "groups", "synset"}, …], "overlaps": [[i, j], …]}
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from errata.json_input import parse_json

from service.domain import ClassPairs, LabelSpace, Superclasses
from service.evidence.class_rules import find_problems


def to_json(label_space: LabelSpace) -> bytes:
    """Return a label space in canonical form."""
    overlaps = label_space.overlaps.as_array().tolist()
    content = {"name": label_space.name, "classes": to_rows(label_space), "overlaps": overlaps}
    return (json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def to_rows(label_space: LabelSpace) -> list[dict[str, Any]]:
    """Return one mapping per class, as `create_label_space` expects them."""
    return [
        {
            "id": label_space.ids[index],
            "name": label_space.names[index],
            "synonyms": list(label_space.synonyms[index]),
            "superclasses": list(label_space.superclasses.names_of(index)),
            "groups": [
                group
                for group, members in zip(label_space.groups, label_space.group_members, strict=True)
                if members[index]
            ],
            "synset": label_space.synsets[index],
        }
        for index in range(label_space.num_classes)
    ]


def from_json(content: bytes) -> LabelSpace:
    """Return the label space that `to_json` wrote.

    Raises:
        ValueError: If the content is not a label space.
        KeyError: If a field is missing.
        TypeError: If a value has another type.
    """
    raw = parse_json(content.decode())
    rows: list[Mapping[str, Any]] = raw["classes"]
    places = [f"class {index}" for index in range(len(rows))]
    for problem in find_problems(rows, places):
        where = "" if problem.row is None else f"{places[problem.row]}: "
        raise ValueError(f"{where}{problem.description}")
    pairs = np.array(raw["overlaps"], dtype=np.int64).reshape(-1, 2)
    if pairs.size and not 0 <= pairs.min() <= pairs.max() < len(rows):
        raise ValueError("an overlap is not a pair of classes")
    if not isinstance(raw["name"], str):
        raise ValueError("the name is not text")
    return create_label_space(raw["name"], rows, pairs)


def create_label_space(name: str, rows: Sequence[Mapping[str, Any]], overlaps: np.ndarray[Any, Any]) -> LabelSpace:
    """Create a label space from valid rows.

    Args:
        name: The name of the label space.
        rows: One mapping per class with `id`, `name`, `synonyms`, `superclasses`, `groups`, and `synset`.
        overlaps: (P, 2) class, and another class that also counts as correct.
    """
    groups = tuple(dict.fromkeys(group for row in rows for group in row["groups"]))
    members = np.array([[group in row["groups"] for row in rows] for group in groups], dtype=bool)
    return LabelSpace(
        name=name,
        ids=tuple(row["id"] for row in rows),
        names=tuple(row["name"] for row in rows),
        synonyms=tuple(tuple(row["synonyms"]) for row in rows),
        synsets=tuple(row["synset"] for row in rows),
        superclasses=Superclasses.from_names([row["superclasses"] for row in rows]),
        groups=groups,
        group_members=members.reshape(len(groups), len(rows)),
        overlaps=ClassPairs.of(overlaps, len(rows)),
    )

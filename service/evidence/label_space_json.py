"""The label space of a bundle as JSON: the format of a file of classes, with the name of the label space.

{"name": …, "classes": [{"id", "name", "synonyms", "superclasses", "groups", "synset"}, …], "overlaps": [[i, j], …]}
"""

import json
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from service.domain import MAX_CLASSES, MIN_CLASSES, LabelSpace, create_label_space
from service.evidence.class_rules import find_problems

MAX_BYTES = 64 << 20
MAX_OVERLAPS = 2_000_000  # twice the limit of one file: two files can have overlaps
_Text = Annotated[str, Field(min_length=1)]
_Index = Annotated[int, Field(ge=0, lt=MAX_CLASSES)]


_STRICT = ConfigDict(strict=True, extra="forbid")


@dataclass(config=_STRICT)
class _Row:
    id: _Text
    name: _Text
    synonyms: list[_Text]
    superclasses: list[_Text]
    groups: list[_Text]
    synset: str


@dataclass(config=_STRICT)
class _Content:
    name: _Text
    classes: Annotated[list[_Row], Field(min_length=MIN_CLASSES, max_length=MAX_CLASSES)]
    overlaps: Annotated[list[tuple[_Index, _Index]], Field(max_length=MAX_OVERLAPS)]


_CONTENT = TypeAdapter(_Content)


def to_json(label_space: LabelSpace) -> bytes:
    """Return a label space in canonical form. Superclasses and groups without classes are not included."""
    columns = (label_space.ids, label_space.names, label_space.synonyms, label_space.synsets)
    classes = [
        {
            "id": id_,
            "name": name,
            "synonyms": synonyms,
            "superclasses": label_space.superclasses.names_of(index),
            "groups": label_space.groups_of(index),
            "synset": synset,
        }
        for index, (id_, name, synonyms, synset) in enumerate(zip(*columns, strict=True))
    ]
    overlaps = label_space.overlaps.as_array().tolist()
    content = {"name": label_space.name, "classes": classes, "overlaps": overlaps}
    return (json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def from_json(content: bytes) -> LabelSpace:
    """Return the label space that `to_json` wrote.

    Raises:
        ValueError: If the content is not a label space.
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"{len(content)} bytes are more than {MAX_BYTES}")
    try:
        raw = _CONTENT.validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place}: {first['msg']}" if place else first["msg"]) from error
    rows, pairs = [vars(row) for row in raw.classes], np.array(raw.overlaps, dtype=np.int64).reshape(-1, 2)
    if (pairs >= len(rows)).any() or (pairs[:, 0] == pairs[:, 1]).any():
        raise ValueError("an overlap is not a pair of two classes")
    for problem in find_problems(rows, [f"class {index}" for index in range(len(rows))]):
        raise ValueError(f"class {problem.row}: {problem.description}")
    return create_label_space(raw.name, rows, pairs)

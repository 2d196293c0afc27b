"""Superclasses: sets of classes that differ only in fine detail. Predicates over lemma names define them.

The file has the authors' format: one JSON object per line, {"id": [[lemma, …], …]}. A class belongs to the superclass
if, for at least one inner list, all lemmas in the list occur among the lemma names of the class's synset and of
the synset's hypernyms. The comparison is exact and case-sensitive.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files

import numpy as np
from errata.errors import InvalidEvidence
from errata.json_input import parse_json

from service.domain import Mask, Superclasses
from service.taxonomy.wordnet import load_taxonomy

Predicate = tuple[tuple[str, ...], ...]  # holds if all lemmas of any inner tuple occur


@dataclass(frozen=True)
class Grouping:
    """Superclasses and their classes."""

    predicates: Mapping[str, Predicate]
    members: Mask  # (S, C), rows in the order of `predicates`

    @property
    def ids(self) -> tuple[str, ...]:
        """Return the ids of the superclasses, in the order of the file."""
        return tuple(self.predicates)

    @cached_property
    def superclasses(self) -> Superclasses:
        """Return the superclasses of each class."""
        return Superclasses.from_members(self.ids, self.members)


def parse_grouping(text: str, source: str) -> Grouping:
    """Parse the text of a file of superclasses.

    Args:
        text: Text of the file.
        source: Name of the file, for messages.

    Raises:
        InvalidEvidence: If a line is invalid.
    """
    predicates: dict[str, Predicate] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        for name, predicate in _parse_line(line, source, number).items():
            if name in predicates:
                raise InvalidEvidence(
                    f"{source}, line {number}: duplicate superclass {name!r}. Remove one of the definitions.",
                    field="id",
                    line=number,
                )
            predicates[name] = predicate
    return Grouping(predicates, match(list(predicates.values())))


def match(predicates: Sequence[Predicate]) -> Mask:
    """Return the classes for which each predicate holds, shape (S, C)."""
    alternatives = [[frozenset(lemmas) for lemmas in predicate] for predicate in predicates]
    class_lemmas = load_taxonomy().class_lemmas()
    holds = (any(required <= lemmas for required in sets) for sets in alternatives for lemmas in class_lemmas)
    return np.fromiter(holds, dtype=bool).reshape(len(predicates), len(class_lemmas))


@cache
def default_grouping() -> Grouping:
    """Return the default superclasses of Errata."""
    source = files("service.taxonomy") / "data" / "superclasses.json"
    return parse_grouping(source.read_text(encoding="utf-8"), source.name)


def _parse_line(line: str, source: str, number: int) -> dict[str, Predicate]:
    try:
        raw = parse_json(line, object_pairs_hook=_to_unique_dict)
    except ValueError as error:
        raise InvalidEvidence(
            f"{source}, line {number}: not a valid JSON object: {error}. Write one object per line.", line=number
        ) from error
    if not isinstance(raw, dict):
        raise InvalidEvidence(
            f"{source}, line {number}: expected a JSON object, got {type(raw).__name__}. Write one object per line.",
            line=number,
        )
    for name, predicate in raw.items():
        if not _is_predicate(predicate):
            raise InvalidEvidence(
                f"{source}, line {number}: invalid value {predicate!r:.80} of {name!r:.80}. Write a list of lists of "
                "lemma names.",
                field=name,
                line=number,
            )
    return {name: tuple(tuple(lemmas) for lemmas in predicate) for name, predicate in raw.items()}


def _to_unique_dict(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        raise ValueError("duplicate superclass")
    return unique


def _is_predicate(raw: object) -> bool:
    return isinstance(raw, list) and all(
        isinstance(lemmas, list) and lemmas and all(isinstance(lemma, str) for lemma in lemmas) for lemmas in raw
    )

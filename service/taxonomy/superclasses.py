"""Superclasses: sets of classes that differ only in fine detail, as predicates over lemma names.

The form is the authors': a JSON object a line, {"id": [[lemma, …], …]}. A class belongs if, for any inner list, all
of its lemmas occur among the lemma names of the class' synset or of any of its hypernyms. Exact, case-sensitive.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from errata.errors import InvalidEvidence
from errata.json_input import parse_json

from service.domain import NUM_CLASSES, Mask
from service.taxonomy.wordnet import Taxonomy, load_taxonomy

Predicate = tuple[tuple[str, ...], ...]  # any of these, each: all of these lemmas


@dataclass(frozen=True)
class Grouping:
    """Superclasses by id, and which class is in which."""

    predicates: Mapping[str, Predicate]
    members: Mask  # (S, C), rows in the order of `predicates`

    @property
    def ids(self) -> tuple[str, ...]:
        """Return the superclasses' ids, in the order of the file."""
        return tuple(self.predicates)

    def same_superclass(self) -> Mask:
        """Return which classes share a superclass, shape (C, C), each with itself."""
        return shared(self.members)


def shared(members: Mask) -> Mask:
    """Return which classes share a superclass, shape (C, C), from the (S, C) memberships."""
    counts = members.astype(np.float32)
    return (counts.T @ counts > 0) | np.eye(NUM_CLASSES, dtype=bool)


def parse_grouping(text: str, source: str, taxonomy: Taxonomy) -> Grouping:
    """Return the grouping that a file describes; raise InvalidEvidence with the line that isn't in the form."""
    predicates: dict[str, Predicate] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        for name, predicate in _parse_line(line, source, number).items():
            if name in predicates:
                raise InvalidEvidence(
                    f"{source}, line {number}: superclass {name!r} stands twice", field="id", line=number
                )
            predicates[name] = predicate
    return Grouping(predicates, match(list(predicates.values()), taxonomy))


def match(predicates: Sequence[Predicate], taxonomy: Taxonomy) -> Mask:
    """Return which class each predicate holds for, shape (S, C)."""
    wanted = [[frozenset(lemmas) for lemmas in predicate] for predicate in predicates]
    return np.array(
        [[any(item <= lemmas for item in predicate) for lemmas in taxonomy.class_lemmas] for predicate in wanted],
        dtype=bool,
    ).reshape(len(predicates), NUM_CLASSES)


@cache
def default_grouping() -> Grouping:
    """Return the superclasses that ship with Errata."""
    source = files("service.taxonomy") / "data" / "superclasses.json"
    return parse_grouping(source.read_text(encoding="utf-8"), source.name, load_taxonomy())


def _parse_line(line: str, source: str, number: int) -> dict[str, Predicate]:
    try:
        raw = parse_json(line, object_pairs_hook=_once)
    except ValueError as error:
        raise InvalidEvidence(f"{source}, line {number}: expected a JSON object, got {error}", line=number) from error
    if not isinstance(raw, dict):
        raise InvalidEvidence(f"{source}, line {number}: expected a JSON object, got {type(raw).__name__}", line=number)
    for name, predicate in raw.items():
        if not _is_predicate(predicate):
            raise InvalidEvidence(
                f"{source}, line {number}: expected {name!r} to be lists of lemma names, got {predicate!r:.80}",
                field=name,
                line=number,
            )
    return {name: tuple(tuple(lemmas) for lemmas in predicate) for name, predicate in raw.items()}


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a superclass that stands twice")
    return result


def _is_predicate(raw: object) -> bool:
    return isinstance(raw, list) and all(
        isinstance(lemmas, list) and lemmas and all(isinstance(lemma, str) for lemma in lemmas) for lemmas in raw
    )

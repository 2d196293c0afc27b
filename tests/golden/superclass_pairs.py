"""Published pairs of classes that must, or must not, share a superclass, and the 20 % of them that were held out.

The default superclasses were revised on the other 80 % only (docs/adr/0051-default-superclasses.md). The split is
stratified: by the constraint, by the groups of the two classes, and by whether the earlier version of the superclasses
already used the pair (it follows from common_errors.jsonl or from the sample of co-occurrence pairs).
"""

import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.taxonomy.imagenet_1k import imagenet_1k

SEED, HELD_OUT_SHARE = 51, 0.2
APART = ("fg-OOV", "spurious_correlation", "non-proto", "model_failure")

Pair = tuple[int, int]


@dataclass(frozen=True)
class Constraints:
    """Pairs that must share a superclass, and pairs that must not."""

    must_share: frozenset[Pair]
    must_not: frozenset[Pair]

    def __sub__(self, other: "Constraints") -> "Constraints":
        return Constraints(self.must_share - other.must_share, self.must_not - other.must_not)

    def __and__(self, other: "Constraints") -> "Constraints":
        return Constraints(self.must_share & other.must_share, self.must_not & other.must_not)


def all_pairs(reference: Path) -> Constraints:
    """Return all published pairs."""
    raw = json.loads((reference / "published" / "superclass_pairs.json").read_text())
    return Constraints(*(frozenset(pair(*classes) for classes in raw[kind]) for kind in ("must_share", "must_not")))


def earlier_pairs(reference: Path) -> Constraints:
    """Return the pairs that the first version of the default superclasses was made with."""
    lines = (reference / "published" / "common_errors.jsonl").read_text().splitlines()
    errors = [json.loads(line) for line in lines]
    return Constraints(frozenset(_must_share(errors)), frozenset(_must_not(errors, reference)))


def held_out(reference: Path) -> Constraints:
    """Return the 20 % of the published pairs that no edit may look at."""
    pairs, earlier = all_pairs(reference), earlier_pairs(reference)
    return Constraints(_draw(pairs.must_share, earlier.must_share), _draw(pairs.must_not, earlier.must_not))


def pair(first: int, second: int) -> Pair:
    """Return an unordered pair."""
    return (min(first, second), max(first, second))


def _must_share(errors: list[dict[str, Any]]) -> Iterator[Pair]:
    for error in errors:
        if error["error_type"] == "fg" and len(error["multi_labels"]) == 1:
            yield pair(error["multi_labels"][0], error["prediction"])


def _must_not(errors: list[dict[str, Any]], reference: Path) -> Iterator[Pair]:
    for error in errors:
        if error["error_type"] in APART:
            yield from (pair(label, error["prediction"]) for label in error["multi_labels"])
    for first, second in json.loads((reference / "published" / "co_occurrence_pairs_sample.json").read_text()):
        yield pair(first, second)


def _draw(pairs: Iterable[Pair], earlier: frozenset[Pair]) -> frozenset[Pair]:
    group_of = imagenet_1k().group_members.argmax(axis=0)
    strata = defaultdict(list)
    for class_pair in sorted(pairs):
        groups = sorted(int(group_of[index]) for index in class_pair)
        strata[(*groups, class_pair in earlier)].append(class_pair)
    generator = random.Random(SEED)
    return frozenset(
        class_pair
        for _, stratum in sorted(strata.items())
        for class_pair in generator.sample(stratum, round(HELD_OUT_SHARE * len(stratum)))
    )

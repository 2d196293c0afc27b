"""Check: what there is to say of a grouping of superclasses, beside the figures that the authors publish of theirs."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np

from service.taxonomy.classes import class_names
from service.taxonomy.superclasses import Grouping
from service.taxonomy.wordnet import Taxonomy


@dataclass(frozen=True)
class Sizes:
    """How a grouping cuts the classes."""

    superclasses: int  # with two or more classes
    smallest: int
    median: float
    mean: float
    largest: int
    alone: int  # classes that share a superclass with no other
    pairs: int  # unordered pairs of classes that share one


AUTHORS = Sizes(superclasses=161, smallest=2, median=4, mean=6.65, largest=31, alone=74, pairs=5476)


@dataclass(frozen=True)
class Findings:
    """What a check of a grouping found; none of it keeps a bundle from being built."""

    sizes: Sizes
    unknown_lemmas: Mapping[str, tuple[str, ...]]  # superclass → lemmas that no class has
    empty: tuple[str, ...]  # superclasses without classes
    single: tuple[str, ...]  # superclasses with one class
    alone: tuple[int, ...]  # classes that share a superclass with no other

    @property
    def sound(self) -> bool:
        """Say whether nothing looks like a mistake."""
        return not self.unknown_lemmas and not self.empty


def check_grouping(grouping: Grouping, taxonomy: Taxonomy) -> Findings:
    """Return what there is to say of a grouping."""
    known = frozenset().union(*taxonomy.class_lemmas)
    unknown = {
        name: tuple(dict.fromkeys(lemma for lemmas in predicate for lemma in lemmas if lemma not in known))
        for name, predicate in grouping.predicates.items()
    }
    counts = dict(zip(grouping.ids, grouping.members.sum(axis=1).tolist(), strict=True))
    shared = grouping.same_superclass().sum(axis=1)
    return Findings(
        sizes=sizes_of(grouping),
        unknown_lemmas={name: lemmas for name, lemmas in unknown.items() if lemmas},
        empty=tuple(name for name, count in counts.items() if count == 0),
        single=tuple(name for name, count in counts.items() if count == 1),
        alone=tuple(np.flatnonzero(shared == 1).tolist()),
    )


def sizes_of(grouping: Grouping) -> Sizes:
    """Return how a grouping cuts the classes; zeros where no superclass has two."""
    counts = [count for count in grouping.members.sum(axis=1).tolist() if count >= 2]
    same = grouping.same_superclass()
    return Sizes(
        superclasses=len(counts),
        smallest=min(counts, default=0),
        median=median(counts) if counts else 0,
        mean=sum(counts) / len(counts) if counts else 0,
        largest=max(counts, default=0),
        alone=int((same.sum(axis=1) == 1).sum()),
        pairs=int((same.sum() - len(same)) // 2),
    )


def names_of(classes: tuple[int, ...]) -> list[str]:
    """Return the names of some classes."""
    names = class_names()
    return [names[index] for index in classes]

"""Check a grouping of superclasses, and compare its sizes with those of the authors' grouping."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np

from service.domain import Mask
from service.taxonomy.superclasses import Grouping
from service.taxonomy.wordnet import Taxonomy


@dataclass(frozen=True)
class Sizes:
    """Sizes of the superclasses with two or more classes."""

    superclasses: int
    smallest: int
    median: float
    mean: float
    largest: int
    alone: int  # number of classes that share no superclass with another class
    pairs: int  # unordered pairs of classes that share a superclass


AUTHORS = Sizes(superclasses=161, smallest=2, median=4, mean=6.65, largest=31, alone=74, pairs=5476)


@dataclass(frozen=True)
class Findings:
    """Findings about a grouping. None of them prevents a build."""

    sizes: Sizes
    unknown_lemmas: Mapping[str, tuple[str, ...]]  # superclass → lemmas of no class or hypernym
    empty: tuple[str, ...]  # superclasses without classes
    single: tuple[str, ...]  # superclasses with one class
    alone: tuple[int, ...]  # classes that share no superclass with another class

    @property
    def is_valid(self) -> bool:
        """Return whether there is a superclass with two classes, and neither unknown lemmas nor empty superclasses."""
        return self.sizes.superclasses > 0 and not self.unknown_lemmas and not self.empty


def check_grouping(grouping: Grouping, taxonomy: Taxonomy) -> Findings:
    """Return the findings about a grouping."""
    known = frozenset().union(*taxonomy.class_lemmas())
    unknown = {
        name: tuple(dict.fromkeys(lemma for lemmas in predicate for lemma in lemmas if lemma not in known))
        for name, predicate in grouping.predicates.items()
    }
    counts = dict(zip(grouping.ids, grouping.members.sum(axis=1).tolist(), strict=True))
    shared_counts = _sharing(grouping).sum(axis=1)
    return Findings(
        sizes=sizes_of(grouping),
        unknown_lemmas={name: lemmas for name, lemmas in unknown.items() if lemmas},
        empty=tuple(name for name, count in counts.items() if count == 0),
        single=tuple(name for name, count in counts.items() if count == 1),
        alone=tuple(np.flatnonzero(shared_counts == 1).tolist()),
    )


def sizes_of(grouping: Grouping) -> Sizes:
    """Return the sizes of a grouping; zeros if no superclass has two classes."""
    counts = [count for count in grouping.members.sum(axis=1).tolist() if count >= 2]
    same = _sharing(grouping)
    return Sizes(
        superclasses=len(counts),
        smallest=min(counts, default=0),
        median=median(counts) if counts else 0,
        mean=sum(counts) / len(counts) if counts else 0,
        largest=max(counts, default=0),
        alone=int((same.sum(axis=1) == 1).sum()),
        pairs=int((same.sum() - len(same)) // 2),
    )


def _sharing(grouping: Grouping) -> Mask:
    """Return the pairs of classes that share a superclass, shape (C, C). The diagonal is True."""
    classes = np.arange(grouping.superclasses.num_classes)
    return grouping.superclasses.share(classes[:, None], classes)

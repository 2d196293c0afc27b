"""Recipes: which facts make up the evidence of each data set. One function a data set, one row in RECIPES."""

from collections.abc import Callable, Mapping

import numpy as np

from service.evidence import labels
from service.evidence.cooccurrence import count_pairs
from service.evidence.facts import Facts, LabelFacts, PairFacts, Source
from service.taxonomy.superclasses import Grouping, default_grouping

TAXONOMY_SOURCE = Source(
    "WordNet 3.0", "Princeton University, compiled into service/taxonomy/data", "WordNet 3.0 license"
)
GROUPING_SOURCE = Source(
    "superclasses", "Errata's default grouping, service/taxonomy/data/superclasses.json", "Apache-2.0"
)


def imagenet_real(superclasses: Grouping) -> Facts:
    """Return the evidence for ReaL-labelled validation images; co-occurrence is counted over the same images."""
    return _without_clip("imagenet-real", labels.imagenet_real(), superclasses)


def demo(superclasses: Grouping) -> Facts:
    """Return the evidence for the 20 photographs; co-occurrence is counted over the ReaL-labelled images."""
    return _without_clip("demo", labels.demo(), superclasses)


RECIPES: Mapping[str, Callable[[Grouping], Facts]] = {"demo": demo, "imagenet-real": imagenet_real}


def gather(dataset: str, superclasses: Grouping | None = None) -> Facts:
    """Return the evidence of a data set that needs no download."""
    return RECIPES[dataset](superclasses or default_grouping())


def _without_clip(dataset: str, images: LabelFacts, superclasses: Grouping) -> Facts:
    return Facts(
        dataset=dataset,
        labels=images,
        superclasses=superclasses,
        pairs=_pairs_among_real_labels(),
        non_prototypical=None,
        oov=None,
        sources=(*images.sources, TAXONOMY_SOURCE, GROUPING_SOURCE),
    )


def _pairs_among_real_labels() -> PairFacts:
    found, judged = labels.real_and_original_labels()
    rows = np.flatnonzero(judged)
    return count_pairs(found.take(rows), (rows + 1).astype(np.int32))

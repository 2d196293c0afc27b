"""The label space of ImageNet-1k: WordNet IDs and lemmas, three groups, overlapping classes, and superclasses."""

from functools import cache

import numpy as np

from service.domain import IMAGENET_1K, ClassPairs, LabelSpace, Mask
from service.taxonomy.overlap import overlap_reasons
from service.taxonomy.superclasses import default_grouping
from service.taxonomy.wordnet import load_taxonomy

GROUPS = ("organism", "artifact", "other")


@cache
def imagenet_1k() -> LabelSpace:
    """Return the label space with the default superclasses. A bundle can replace these superclasses."""
    taxonomy = load_taxonomy()
    lemmas = [tuple(lemma.replace("_", " ") for lemma in taxonomy.lemmas[synset]) for synset in taxonomy.classes]
    ids = tuple(taxonomy.wordnet_id(index) for index in range(len(lemmas)))
    reasons = overlap_reasons()
    return LabelSpace(
        name=IMAGENET_1K,
        ids=ids,
        names=tuple(names[0] for names in lemmas),
        synonyms=tuple((*names[1:], ", ".join(names)) for names in lemmas),
        synsets=ids,
        superclasses=default_grouping().superclasses,
        groups=GROUPS,
        group_members=_group_members(),
        overlaps=ClassPairs.of(np.array([*reasons]), len(lemmas)),
        overlap_reasons=reasons,
    )


def _group_members() -> Mask:
    """Return the members of each group, shape (3, C) (spec: "Groups")."""
    lemmas = load_taxonomy().class_lemmas()
    organism, artifact = (np.array([group in names for names in lemmas]) for group in GROUPS[:2])
    return np.stack([organism, artifact, ~organism & ~artifact])

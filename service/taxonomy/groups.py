"""The three groups of classes: organism, artifact, other (spec: "Groups")."""

from functools import cache

import numpy as np

from service.domain import CLASS_GROUPS, Group, Mask
from service.taxonomy.wordnet import load_taxonomy


@cache
def class_groups() -> Mask:
    """Return which class is in which group, shape (3, C), rows in the order of CLASS_GROUPS."""
    lemmas = load_taxonomy().class_lemmas
    organism = np.array([Group.ORGANISM.value in names for names in lemmas])
    artifact = np.array([Group.ARTIFACT.value in names for names in lemmas])
    groups = np.stack([organism, artifact, ~organism & ~artifact])
    assert len(groups) == len(CLASS_GROUPS), "this is a bug: a row a group"
    return groups

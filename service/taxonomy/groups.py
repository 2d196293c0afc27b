"""The three groups of classes: organism, artifact, other (spec: "Groups")."""

from functools import cache

import numpy as np

from service.domain import CLASS_GROUPS, Group, Mask
from service.taxonomy.wordnet import load_taxonomy


@cache
def class_groups() -> Mask:
    """Return the members of each group, shape (3, C), rows in the order of CLASS_GROUPS."""
    lemmas = load_taxonomy().class_lemmas
    organism = np.array([Group.ORGANISM.value in names for names in lemmas])
    artifact = np.array([Group.ARTIFACT.value in names for names in lemmas])
    groups = np.stack([organism, artifact, ~organism & ~artifact])
    assert len(groups) == len(CLASS_GROUPS), "This is a bug: the rows do not match the groups."
    return groups

"""Co-occurrence of classes in validation images (spec: "Co-occurrence pairs")."""

from collections import defaultdict
from itertools import combinations

import numpy as np

from service.domain import ClassPairs, Labels, Superclasses
from service.evidence.inputs import CooccurrenceInputs

MIN_COUNT = 2  # images, unless a bundle has its own minimum
EXAMPLES = 3


def count_pairs(labels: Labels, numbers: np.ndarray[tuple[int], np.dtype[np.int32]]) -> CooccurrenceInputs:
    """Count unordered pairs of classes over N images.

    Args:
        labels: Labels of the N images.
        numbers: (N,) 1-based numbers of the images among the validation images.
    """
    images: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row in np.flatnonzero(labels.counts > 1).tolist():
        for pair in combinations(sorted(labels.of(row).tolist()), 2):
            images[pair].append(int(numbers[row]))
    pairs = sorted(images)
    examples = np.zeros((len(pairs), EXAMPLES), dtype=np.int32)
    for pair_examples, pair in zip(examples, pairs, strict=True):
        first = images[pair][:EXAMPLES]
        pair_examples[: len(first)] = first
    return CooccurrenceInputs(
        classes=np.array(pairs, dtype=np.int16).reshape(-1, 2),
        counts=np.array([len(images[pair]) for pair in pairs], dtype=np.int32),
        examples=examples,
    )


def cooccurrence_relation(
    pairs: CooccurrenceInputs, superclasses: Superclasses, min_count: int = MIN_COUNT
) -> ClassPairs:
    """Return the pairs that occur in at least `min_count` images and share no superclass; symmetric."""
    frequent = pairs.classes[pairs.counts >= min_count]
    distinct = frequent[~superclasses.share(frequent[:, 0], frequent[:, 1])]
    return ClassPairs.of(distinct, superclasses.num_classes, symmetric=True)

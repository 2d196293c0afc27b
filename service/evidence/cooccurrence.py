"""Co-occurrence: which classes are seen together in validation images (spec: "Co-occurrence pairs")."""

from collections import defaultdict
from itertools import combinations

import numpy as np

from service.domain import NUM_CLASSES, Labels, Mask
from service.evidence.inputs import CooccurrenceInputs

SEEN_AT_LEAST = 2
EXAMPLES = 3


def count_pairs(labels: Labels, numbers: np.ndarray[tuple[int], np.dtype[np.int32]]) -> CooccurrenceInputs:
    """Count unordered pairs of classes over images; `numbers` (N,) are their numbers among the validation images."""
    images: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row in np.flatnonzero(labels.counts > 1).tolist():
        for pair in combinations(sorted(labels.of(row).tolist()), 2):
            images[pair].append(int(numbers[row]))
    pairs = sorted(images)
    examples = np.zeros((len(pairs), EXAMPLES), dtype=np.int32)
    for place, pair in enumerate(pairs):
        some = images[pair][:EXAMPLES]
        examples[place, : len(some)] = some
    return CooccurrenceInputs(
        classes=np.array(pairs, dtype=np.int16).reshape(-1, 2),
        counts=np.array([len(images[pair]) for pair in pairs], dtype=np.int32),
        examples=examples,
    )


def cooccurrence_matrix(pairs: CooccurrenceInputs, same_superclass: Mask) -> Mask:
    """Return the pairs seen at least twice whose classes share no superclass, shape (C, C), symmetric."""
    matrix = np.zeros((NUM_CLASSES, NUM_CLASSES), dtype=bool)
    first, second = pairs.classes[pairs.counts >= SEEN_AT_LEAST].T
    matrix[first, second] = True
    return (matrix | matrix.T) & ~same_superclass

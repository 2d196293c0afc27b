"""Co-occurrence of classes in images (spec: "Co-occurrence pairs")."""

import numpy as np
from errata.errors import InvalidEvidence
from numpy.typing import NDArray

from service.domain import MAX_CLASSES, ClassPairs, Labels, Superclasses
from service.evidence.inputs import CooccurrenceInputs

MIN_COUNT = 2  # images in which a pair must occur, unless a bundle has another minimum
EXAMPLES = 3
MAX_PAIRS = 1 << 25  # pairs of labels, over all images


def count_pairs(labels: Labels, numbers: NDArray[np.int32]) -> CooccurrenceInputs:
    """Count unordered pairs of classes over N images.

    Args:
        labels: Labels of the N images.
        numbers: (N,) 1-based numbers that identify the images in the examples.

    Raises:
        InvalidEvidence: If images have so many labels that counting takes more than about 1.5 GB of memory.
    """
    total = int((labels.counts.astype(np.int64) * (labels.counts - 1) // 2).sum())
    if total > MAX_PAIRS:
        raise InvalidEvidence(
            f"The images have {total:,} pairs of labels. Expected at most {MAX_PAIRS:,}: an image with n labels has "
            "n (n - 1) / 2 pairs. Write fewer labels per image.",
            field="labels",
        )
    codes, images = _pairs(labels)
    order = np.lexsort((images, codes))
    distinct, starts, counts = np.unique(codes[order], return_index=True, return_counts=True)
    examples = np.zeros((len(distinct), EXAMPLES), dtype=np.int32)
    for place in range(EXAMPLES):
        present = np.flatnonzero(counts > place)
        examples[present, place] = numbers[images[order[starts[present] + place]]]
    return CooccurrenceInputs(
        classes=np.stack(np.divmod(distinct, MAX_CLASSES), axis=1).astype(np.int16),
        counts=counts.astype(np.int32),
        examples=examples,
    )


def _pairs(labels: Labels) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return, for each pair of labels of an image, its code first * MAX_CLASSES + second, and the image's row."""
    codes, images = [np.zeros(0, dtype=np.int32)], [np.zeros(0, dtype=np.int32)]
    for size in np.unique(labels.counts[labels.counts > 1]).tolist():
        rows = np.flatnonzero(labels.counts == size).astype(np.int32)
        classes = np.sort(labels.classes[labels.offsets[rows][:, None] + np.arange(size)], axis=1).astype(np.int32)
        first, second = np.triu_indices(size, 1)
        codes.append((classes[:, first] * MAX_CLASSES + classes[:, second]).reshape(-1))
        images.append(np.repeat(rows, len(first)))
    return np.concatenate(codes), np.concatenate(images)


def cooccurrence_relation(
    pairs: CooccurrenceInputs, superclasses: Superclasses, min_count: int = MIN_COUNT
) -> ClassPairs:
    """Return, as a symmetric relation, the pairs that share no superclass and occur in at least `min_count` images."""
    frequent = pairs.classes[pairs.counts >= min_count]
    distinct = frequent[~superclasses.share(frequent[:, 0], frequent[:, 1])]
    return ClassPairs.of(distinct, superclasses.num_classes, symmetric=True)

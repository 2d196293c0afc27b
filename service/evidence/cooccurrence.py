"""Co-occurrence of classes in validation images (spec: "Co-occurrence pairs")."""

import numpy as np
from errata.errors import InvalidEvidence
from numpy.typing import NDArray

from service.domain import MAX_CLASSES, ClassPairs, Labels, Superclasses
from service.evidence.inputs import CooccurrenceInputs

MIN_COUNT = 2  # images, unless a bundle has its own minimum
EXAMPLES = 3
MAX_PAIRS = 50_000_000  # of the labels of all images; counting them needs about 1 GB


def count_pairs(labels: Labels, numbers: NDArray[np.int32]) -> CooccurrenceInputs:
    """Count unordered pairs of classes over N images.

    Args:
        labels: Labels of the N images.
        numbers: (N,) 1-based numbers of the images among the validation images, or among the images of the data set.

    Raises:
        InvalidEvidence: The images have too many pairs.
    """
    codes, images = _pairs_of_images(labels)
    order = np.lexsort((images, codes))
    codes, images = codes[order], images[order]
    distinct, first, counts = np.unique(codes, return_index=True, return_counts=True)
    examples = np.zeros((len(distinct), EXAMPLES), dtype=np.int32)
    for position in range(EXAMPLES):
        present = counts > position
        examples[present, position] = numbers[images[first[present] + position]]
    return CooccurrenceInputs(
        classes=np.stack(np.divmod(distinct, MAX_CLASSES), axis=1).astype(np.int16).reshape(-1, 2),
        counts=counts.astype(np.int32),
        examples=examples,
    )


def _pairs_of_images(labels: Labels) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the pairs of labels of all images, as first * MAX_CLASSES + second, and the image of each pair."""
    counts = labels.counts.astype(np.int64)
    total = int((counts * (counts - 1) // 2).sum())
    if total > MAX_PAIRS:
        raise InvalidEvidence(
            f"The images have {total:,} pairs of labels. Expected at most {MAX_PAIRS:,}. Use fewer images.",
            field="labels",
        )
    codes, images = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int32)]
    for count in np.unique(counts[counts > 1]).tolist():
        rows = np.flatnonzero(counts == count)
        classes = np.sort(labels.classes[labels.offsets[rows][:, None] + np.arange(count)], axis=1).astype(np.int64)
        first, second = np.triu_indices(count, 1)
        codes.append((classes[:, first] * MAX_CLASSES + classes[:, second]).reshape(-1))
        images.append(np.repeat(rows, len(first)).astype(np.int32))
    return np.concatenate(codes), np.concatenate(images)


def cooccurrence_relation(
    pairs: CooccurrenceInputs, superclasses: Superclasses, min_count: int = MIN_COUNT
) -> ClassPairs:
    """Return the pairs that occur in at least `min_count` images and share no superclass; symmetric."""
    frequent = pairs.classes[pairs.counts >= min_count]
    distinct = frequent[~superclasses.share(frequent[:, 0], frequent[:, 1])]
    return ClassPairs.of(distinct, superclasses.num_classes, symmetric=True)

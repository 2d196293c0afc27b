"""Co-occurrence of classes in the labels of a data set, or in the labels of other images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from errata.errors import InvalidEvidence
from numpy.typing import NDArray

from service.domain import LabelSpace
from service.evidence.build_inputs import OWN_LICENSE, file_source
from service.evidence.cooccurrence import count_pairs
from service.evidence.inputs import CooccurrenceInputs, LabelInputs, Source
from service.evidence.label_files import read_labels

SOURCE = "co-occurrence"


def pairs_of_labels(images: LabelInputs, min_count: int) -> tuple[CooccurrenceInputs | None, Source]:
    """Count the pairs of labels of a data set; None if no pair occurs in at least `min_count` images.

    No image supports its own error: its pairs are pairs of its labels, for which an earlier rule decides.
    """
    rows = np.flatnonzero(~images.problematic)
    return _count(images, rows, min_count), Source(SOURCE, "pairs of the labels of the data set", OWN_LICENSE)


def read_pairs(
    path: Path, images: LabelInputs, label_space: LabelSpace, min_count: int
) -> tuple[CooccurrenceInputs | None, Source]:
    """Count the pairs of a file of labels; None if no pair occurs in at least `min_count` images.

    Images of the data set are ignored, so that no image supports its own error.
    """
    others = read_labels(path, label_space)
    is_judged = np.isin(others.names[others.rows], images.names[images.rows])
    if is_judged.all():
        raise InvalidEvidence(
            f"{path.name}: all images are images of the data set, which do not count. Use the labels of other images, "
            "or leave --cooccurrence out.",
            field="cooccurrence",
        )
    rows = np.flatnonzero(~others.problematic & ~is_judged)
    return _count(others, rows, min_count), file_source(SOURCE, path, OWN_LICENSE)


def _count(images: LabelInputs, rows: NDArray[np.intp], min_count: int) -> CooccurrenceInputs | None:
    pairs = count_pairs(images.labels.take(rows), (images.rows[rows] + 1).astype(np.int32))
    frequent = pairs.counts >= min_count
    if not frequent.any():
        return None
    numbers, examples = np.unique(pairs.examples[frequent], return_inverse=True)
    has_zero = int(numbers[0] == 0)  # 0 is no image
    return replace(
        pairs,
        classes=pairs.classes[frequent],
        counts=pairs.counts[frequent],
        examples=(examples.reshape(-1, pairs.examples.shape[1]) + 1 - has_zero).astype(np.int32),
        names=images.names[numbers[has_zero:] - 1],
    )

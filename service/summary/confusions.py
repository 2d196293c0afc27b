"""Confusions: the most frequent pairs of target and prediction, with their error types."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.domain import MAX_CLASSES, MULTI_LABEL_ERROR_TYPES, NUM_IDS, Bytes, Classes, Confusion, is_among


def confusions(targets: Classes, predicted: Classes, types: Bytes, limit: int) -> list[Confusion]:
    """Return the most frequent multi-label errors by target and prediction.

    Args:
        targets: (n,) effective targets.
        predicted: (n,) predicted classes.
        types: (n,) ID of the error type of each sample.
        limit: Maximum number of pairs.
    """
    errors = is_among(types, MULTI_LABEL_ERROR_TYPES)
    keys = targets[errors].astype(np.int64) * MAX_CLASSES + predicted[errors]
    pairs, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    result = []
    for pair in np.argsort(-counts, kind="stable")[:limit]:
        target, prediction = divmod(int(pairs[pair]), MAX_CLASSES)
        by_id = np.bincount(types[errors][inverse == pair], minlength=NUM_IDS).tolist()
        type_counts = {
            error_type: by_id[error_type.id] for error_type in MULTI_LABEL_ERROR_TYPES if by_id[error_type.id]
        }
        result.append(Confusion(target, prediction, int(counts[pair]), type_counts))
    return result


def group_confused_classes(pairs: Sequence[Confusion], limit: int) -> list[int]:
    """Return the classes of the most frequent confusions. Classes that are confused with each other are adjacent.

    Args:
        pairs: Confusions, the most frequent first.
        limit: Maximum number of classes.
    """
    groups: list[list[int]] = []
    for pair in pairs:
        old = [group for group in groups if not {pair.target, pair.predicted}.isdisjoint(group)]
        merged = [*dict.fromkeys([number for group in old for number in group] + [pair.target, pair.predicted])]
        others = [group for group in groups if group not in old]
        if sum(map(len, others)) + len(merged) > limit:
            break
        position = groups.index(old[0]) if old else len(groups)
        groups = [*others[:position], merged, *others[position:]]
    return [number for group in groups for number in group]


def count_confusions(targets: Classes, predicted: Classes, types: Bytes, classes: Sequence[int]) -> NDArray[np.int64]:
    """Count the multi-label errors whose target and prediction are in `classes`, by target and prediction.

    Args:
        targets: (n,) effective targets.
        predicted: (n,) predicted classes.
        types: (n,) ID of the error type of each sample.
        classes: (k,) the classes.

    Returns:
        The counts, (k, k).
    """
    position = np.full(MAX_CLASSES, -1)
    position[[*classes]] = np.arange(len(classes))
    rows, columns = position[targets], position[np.maximum(predicted, 0)]
    counted = is_among(types, MULTI_LABEL_ERROR_TYPES) & (rows >= 0) & (columns >= 0)
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (rows[counted], columns[counted]), 1)
    return counts

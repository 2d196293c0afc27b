"""Confusions: the most frequent pairs of target and prediction, with their error types."""

import numpy as np

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

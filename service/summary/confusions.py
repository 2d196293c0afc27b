"""Confusions: the most frequent pairs of target and prediction, with their error types."""

from collections import Counter

import numpy as np

from service.domain import NUM_CLASSES, Bytes, Classes, Confusion, ErrorType


def confusions(targets: Classes, predicted: Classes, types: Bytes, limit: int) -> list[Confusion]:
    """Return the most frequent multi-label errors (types 4 to 8) by target and prediction.

    Args:
        targets: (n,) target classes.
        predicted: (n,) predicted classes.
        types: (n,) ErrorType of each sample.
        limit: Maximum number of pairs.
    """
    errors = types >= ErrorType.FINE_GRAINED
    keys = targets[errors].astype(np.int64) * NUM_CLASSES + predicted[errors]
    pairs, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    result = []
    for pair in np.argsort(-counts, kind="stable")[:limit]:
        target, prediction = divmod(int(pairs[pair]), NUM_CLASSES)
        type_counts = Counter(ErrorType(error_type) for error_type in types[errors][inverse == pair])
        result.append(Confusion(target, prediction, int(counts[pair]), dict(sorted(type_counts.items()))))
    return result

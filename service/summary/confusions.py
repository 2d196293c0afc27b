"""Confusions: which class is taken for which, how often, and what kind of error that is."""

from collections import Counter

import numpy as np

from service.domain import NUM_CLASSES, Bytes, Classes, Confusion, ErrorType


def confusions(targets: Classes, predicted: Classes, types: Bytes, most: int) -> list[Confusion]:
    """Return the most frequent multi-label errors (types 4 to 8) by target and prediction; all arrays (n,)."""
    errors = types >= ErrorType.FINE_GRAINED
    keys = targets[errors].astype(np.int64) * NUM_CLASSES + predicted[errors]
    pairs, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    result = []
    for place in order:
        target, prediction = divmod(int(pairs[place]), NUM_CLASSES)
        kinds = Counter(ErrorType(kind) for kind in types[errors][inverse == place])
        result.append(Confusion(target, prediction, int(counts[place]), dict(sorted(kinds.items()))))
    return result

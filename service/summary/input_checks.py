"""Input checks: detect predictions with permuted classes or reordered rows."""

import numpy as np

from service.domain import NUM_CLASSES, Classes, Predictions

PERMUTED_BELOW = 0.05  # top-1 accuracy
PERMUTED_COVERAGE = 0.5  # share of samples
REORDERED_GAIN = 0.2  # gain in top-1 accuracy by the other row order


def rows_look_permuted(targets: Classes, predicted: Classes) -> bool:
    """Return whether the class indices seem to be permuted.

    This is the case if top-1 accuracy is below 5 %, and a one-to-one mapping from each target to its most frequent
    prediction covers at least half of the samples (spec/statistics: "permuted classes").

    Args:
        targets: (n,) target classes.
        predicted: (n,) predicted classes; -1: no prediction.
    """
    known = predicted >= 0
    count = np.count_nonzero(known)
    if not count or np.count_nonzero(targets == predicted) / count >= PERMUTED_BELOW:
        return False
    targets, predicted = targets[known].astype(np.int64), predicted[known].astype(np.int64)
    counts = np.bincount(targets * NUM_CLASSES + predicted, minlength=NUM_CLASSES**2).reshape(NUM_CLASSES, NUM_CLASSES)
    favorites, frequencies = counts.argmax(axis=1), counts.max(axis=1)
    covered = np.zeros(NUM_CLASSES, dtype=np.int64)
    np.maximum.at(covered, favorites, frequencies)  # of targets with the same favorite, only the most frequent counts
    return bool(covered.sum() >= PERMUTED_COVERAGE * len(targets))


def rows_look_reordered(all_targets: Classes, predictions: Predictions, reordered: Predictions) -> bool:
    """Return whether the rows of an upload without names are far more accurate in the other order."""
    gain = (reordered.top1 == all_targets).mean() - (predictions.top1 == all_targets).mean()
    return bool(gain >= REORDERED_GAIN)

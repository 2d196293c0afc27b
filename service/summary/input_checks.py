"""Suspicion: predictions that are bad in a way that looks like a mix-up of classes or rows."""

import numpy as np

from service.domain import NUM_CLASSES, Classes, Predictions

PERMUTED_BELOW = 0.05  # top-1 accuracy
PERMUTED_COVERS = 0.5  # of the samples
REORDERED_BY = 0.2  # by how much the other order must be more accurate


def rows_look_permuted(targets: Classes, predicted: Classes) -> bool:
    """Say whether classes seem to be numbered otherwise; both (n,).

    Top-1 is under 5 %, and the most frequent prediction of each target, one to one, covers at least half of the
    samples (spec/statistics: "permuted classes").
    """
    known = predicted >= 0
    targets, predicted = targets[known].astype(np.int64), predicted[known].astype(np.int64)
    if not len(targets) or (targets == predicted).mean() >= PERMUTED_BELOW:
        return False
    counts = np.bincount(targets * NUM_CLASSES + predicted, minlength=NUM_CLASSES**2).reshape(NUM_CLASSES, NUM_CLASSES)
    best, most = counts.argmax(axis=1), counts.max(axis=1)
    taken = np.zeros(NUM_CLASSES, dtype=np.int64)
    np.maximum.at(taken, best, most)  # two targets with the same favorite: the more frequent one has it
    return bool(taken.sum() >= PERMUTED_COVERS * len(targets))


def rows_look_reordered(all_targets: Classes, given: Predictions, other: Predictions) -> bool:
    """Say whether the rows of an upload without names make far more sense in the other order."""
    return bool((other.top1 == all_targets).mean() - (given.top1 == all_targets).mean() >= REORDERED_BY)

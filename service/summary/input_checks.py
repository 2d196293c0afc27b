"""Input checks: detect predictions with another class numbering or with reordered rows."""

import numpy as np
from numpy.typing import NDArray

from service.domain import Classes, PermutedClasses, Predictions, ReorderedRows

PERMUTED_BELOW = 0.05  # top-1 accuracy
PERMUTED_COVERAGE = 0.5  # share of samples
MIN_CLASS_SAMPLES = 5  # samples of a class; the most frequent prediction of fewer covers many of them by chance
MIN_CLASSES = 10  # classes with that many samples
REORDERED_GAIN = 0.2  # gain in top-1 accuracy by the other row order


def find_permuted_classes(targets: Classes, predicted: Classes, num_classes: int) -> PermutedClasses | None:
    """Find predictions with another class numbering.

    This is the case if top-1 accuracy is below 5 %, and a one-to-one mapping from each target to its most frequent
    prediction covers at least half of the samples, over the classes with at least five samples. At least ten such
    classes are necessary, or all classes where there are fewer (spec/statistics: "implausible uploads").

    Args:
        targets: (n,) target classes.
        predicted: (n,) predicted classes; -1: no prediction.
        num_classes: Number of classes of the label space.
    """
    known = predicted >= 0
    count = np.count_nonzero(known)
    accuracy = float(np.count_nonzero(targets == predicted) / count) if count else 1.0
    if accuracy >= PERMUTED_BELOW:
        return None
    known_targets = targets[known].astype(np.int64)
    num_samples = np.bincount(known_targets)
    is_large = num_samples >= MIN_CLASS_SAMPLES
    if is_large.sum() < min(MIN_CLASSES, np.count_nonzero(num_samples)):
        return None
    is_counted = is_large[known_targets]
    mapped, favorites, frequencies = _map_classes(
        known_targets[is_counted], predicted[known][is_counted].astype(np.int64), num_classes
    )
    total = num_samples[is_large].sum()
    if frequencies.sum() < PERMUTED_COVERAGE * total:
        return None
    by_shift = np.bincount((favorites - mapped) % num_classes, weights=frequencies)
    shift = int(by_shift.argmax())
    is_shift = by_shift[shift] >= PERMUTED_COVERAGE * total
    signed = shift if shift <= num_classes // 2 else shift - num_classes
    return PermutedClasses(accuracy, float(frequencies.sum() / total), signed if is_shift else None)


def _map_classes(
    targets: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Map targets to their most frequent predictions, one to one.

    A class that is the favorite of several targets is mapped to the target that has it most often.

    Returns:
        (m,) targets, (m,) their predictions, and (m,) the numbers of samples with both.
    """
    keys = targets * num_classes + predicted
    pairs, counts = np.unique(keys.astype(np.int32), return_counts=True)  # sorting int32 takes a third of the time
    pair_targets, pair_predicted = np.divmod(pairs.astype(np.int64), num_classes)
    starts = np.flatnonzero(np.diff(pair_targets, prepend=-1))
    # One number for a count and its class, so that one maximum finds the first of the most frequent predictions.
    best = np.maximum.reduceat(counts * num_classes + (num_classes - 1 - pair_predicted), starts)
    frequencies, favorites = best // num_classes, num_classes - 1 - best % num_classes
    order = np.lexsort((-frequencies, favorites))
    mapped = order[np.unique(favorites[order], return_index=True)[1]]
    return pair_targets[starts[mapped]], favorites[mapped], frequencies[mapped]


def find_reordered_rows(all_targets: Classes, predictions: Predictions, reordered: Predictions) -> ReorderedRows | None:
    """Find rows without file names that are far more accurate in the other order."""
    accuracy = float((predictions.top1 == all_targets).mean())
    other = float((reordered.top1 == all_targets).mean())
    return ReorderedRows(accuracy, other) if other - accuracy >= REORDERED_GAIN else None

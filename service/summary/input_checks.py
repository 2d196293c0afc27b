"""Input checks: detect predictions with another class numbering or with reordered rows."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from service.domain import Classes, PermutedClasses, Predictions, ReorderedRows

PERMUTED_BELOW = 0.05  # top-1 accuracy
PERMUTED_COVERAGE = 0.5  # share of samples
MIN_CLASS_SAMPLES = 5  # samples of a class; with fewer, the most frequent prediction covers many by chance
MIN_CLASSES = 10  # classes with that many samples
FEW_CLASSES_COVERAGE = 0.9  # share of samples if fewer classes are large; random predictions cover half of them
RENUMBERED_COVERAGE = 0.9  # share of samples for a warning at 5 % top-1 accuracy or more
RENUMBERED_GAIN = 0.6  # minimum difference to the top-1 accuracy for this warning
SHIFT_SHARE = 0.8  # share of the covered samples that a shift of all classes explains
ONE_BASED_KAPPA = 0.5  # of the targets and the classes before the predicted ones
ONE_BASED_SCORE = 3.0  # minimum standard score beyond this kappa; few images of confused neighbors can reach it
REORDERED_GAIN = 0.2  # gain in top-1 accuracy by the other row order
REORDERED_SCORE = 4.0  # minimum standard score of this gain; few images of few classes can gain that much by chance


def find_permuted_classes(targets: Classes, predicted: Classes, num_classes: int) -> PermutedClasses | None:
    """Find predictions with another class numbering (spec/statistics: "implausible uploads").

    A class is large if it has at least five samples. The result is not None if all of these conditions hold:

    1. Top-1 accuracy is below 5 %.
    2. At least ten classes are large. If fewer than ten classes have samples, all of them are large.
    3. A one-to-one mapping from large classes to their most frequent predictions covers at least half of the samples
       of the large classes. If fewer than ten classes are large, the mapping has at least two classes and covers at
       least 90 %, because constant or random predictions of few classes cover half of the samples by chance.

    Args:
        targets: (n,) target classes.
        predicted: (n,) predicted classes; -1: no prediction.
        num_classes: Number of classes of the label space.
    """
    accuracy = _top1_accuracy(targets, predicted)
    if accuracy >= PERMUTED_BELOW:
        return None
    return _fit_numbering(targets, predicted, num_classes, accuracy, PERMUTED_COVERAGE)


def find_renumbered_classes(targets: Classes, predicted: Classes, num_classes: int) -> PermutedClasses | None:
    """Find predictions whose classes may have another numbering that keeps the numbers of some classes.

    Top-1 accuracy is at least 5 %, at least ten classes are large, and a one-to-one mapping as in
    `find_permuted_classes` covers at least 90 % of their samples, and 60 percentage points more than top-1. The result
    has no shift that would move a prediction out of the classes.

    Args:
        targets: (n,) target classes.
        predicted: (n,) predicted classes; -1: no prediction.
        num_classes: Number of classes of the label space.
    """
    accuracy = _top1_accuracy(targets, predicted)
    if not PERMUTED_BELOW <= accuracy <= 1 - RENUMBERED_GAIN or len(np.unique(targets[predicted >= 0])) < MIN_CLASSES:
        return None
    min_coverage = max(RENUMBERED_COVERAGE, accuracy + RENUMBERED_GAIN)
    result = _fit_numbering(targets, predicted, num_classes, accuracy, min_coverage)
    if result is None or result.shift is None:
        return result
    shifted = predicted[predicted >= 0].astype(np.int64) - result.shift
    return result if shifted.min() >= 0 and shifted.max() < num_classes else replace(result, shift=None)


def _fit_numbering(
    targets: Classes, predicted: Classes, num_classes: int, accuracy: float, min_coverage: float
) -> PermutedClasses | None:
    """Return the mapping of classes that meets conditions 2 and 3 of `find_permuted_classes`; None if there is none.

    The mapping must cover `min_coverage` instead of one half.
    """
    known = predicted >= 0
    known_targets = targets[known].astype(np.int64)
    known_predicted = predicted[known].astype(np.int64)
    num_samples = np.bincount(known_targets)
    is_large = num_samples >= MIN_CLASS_SAMPLES
    num_large = int(is_large.sum())
    if num_large < min(MIN_CLASSES, int(np.count_nonzero(num_samples))):
        return None
    is_counted = is_large[known_targets]
    mapped, favorites, frequencies = _map_classes(known_targets[is_counted], known_predicted[is_counted], num_classes)
    total = num_samples[is_large].sum()
    has_few_classes = num_large < MIN_CLASSES
    if has_few_classes and len(mapped) < 2:
        return None
    if frequencies.sum() < (FEW_CLASSES_COVERAGE if has_few_classes else min_coverage) * total:
        return None
    shifts, positions = np.unique(favorites - mapped, return_inverse=True)
    by_shift = np.bincount(positions.reshape(-1), weights=frequencies)
    best = int(by_shift.argmax())
    is_shift = by_shift[best] >= SHIFT_SHARE * frequencies.sum()
    return PermutedClasses(accuracy, float(frequencies.sum() / total), int(shifts[best]) if is_shift else None)


def find_classes_from_one(targets: Classes, predicted: Classes) -> PermutedClasses | None:
    """Find predictions whose classes may be numbered from 1, also in files that are too small for a mapping of classes.

    Top-1 accuracy is below 5 %, no prediction is class 0, and the class before the predicted one is the target of
    samples of at least ten classes. The kappa of the targets and these classes, which is the share of equal ones beyond
    chance, is at least one half and three standard errors. With this single hypothesis, 20 samples are enough.

    Args:
        targets: (n,) target classes.
        predicted: (n,) predicted classes; -1: no prediction.
    """
    accuracy = _top1_accuracy(targets, predicted)
    if accuracy >= PERMUTED_BELOW:
        return None
    known = predicted >= 0
    targets, previous = targets[known], predicted[known] - 1
    is_target = previous == targets
    if previous.min() < 0 or len(np.unique(targets[is_target])) < MIN_CLASSES:
        return None
    num_classes = int(max(targets.max(), previous.max())) + 1
    by_chance = float(
        np.dot(*(np.bincount(classes, minlength=num_classes) / len(targets) for classes in (targets, previous)))
    )
    share = float(is_target.mean())
    kappa = (share - by_chance) / (1 - by_chance)
    if kappa < ONE_BASED_KAPPA + ONE_BASED_SCORE * 0.5 / len(targets) ** 0.5:
        return None
    return PermutedClasses(accuracy, share, 1)


def _top1_accuracy(targets: Classes, predicted: Classes) -> float:
    """Return the top-1 accuracy of the samples with a prediction; 1 if there are none."""
    count = np.count_nonzero(predicted >= 0)
    return float(np.count_nonzero(targets == predicted) / count) if count else 1.0


def _map_classes(
    targets: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Map targets to their most frequent predictions, one to one.

    If several targets have the same most frequent prediction, only the target with the most such samples is mapped.

    Returns:
        (m,) targets, (m,) their predictions, and (m,) the numbers of samples with both.
    """
    keys = targets * num_classes + predicted
    pairs, counts = np.unique(keys.astype(np.int32), return_counts=True)  # sorting int32 takes a third of the time
    pair_targets, pair_predicted = np.divmod(pairs.astype(np.int64), num_classes)
    starts = np.flatnonzero(np.diff(pair_targets, prepend=-1))
    # Each number combines a count and its class, so that one maximum finds the first most frequent prediction.
    best = np.maximum.reduceat(counts * num_classes + (num_classes - 1 - pair_predicted), starts)
    frequencies, favorites = best // num_classes, num_classes - 1 - best % num_classes
    order = np.lexsort((-frequencies, favorites))
    mapped = order[np.unique(favorites[order], return_index=True)[1]]
    return pair_targets[starts[mapped]], favorites[mapped], frequencies[mapped]


def find_reordered_rows(all_targets: Classes, predictions: Predictions, reordered: Predictions) -> ReorderedRows | None:
    """Return the accuracies in the given and in the other row order if the other one is much higher; else None.

    The difference must also be statistically significant. If the predictions are restricted to a subset, only its
    images count.
    """
    subset = slice(None) if predictions.subset is None else predictions.subset
    targets = all_targets[subset]
    is_correct, is_correct_in_other = predictions.top1[subset] == targets, reordered.top1[subset] == targets
    accuracy, other = float(is_correct.mean()), float(is_correct_in_other.mean())
    num_changed = np.count_nonzero(is_correct != is_correct_in_other)
    gain = np.count_nonzero(is_correct_in_other) - np.count_nonzero(is_correct)
    if other - accuracy < REORDERED_GAIN or gain < REORDERED_SCORE * np.sqrt(num_changed):
        return None
    return ReorderedRows(accuracy, other)

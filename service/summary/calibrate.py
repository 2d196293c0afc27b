"""Calibration: confidence compared with accuracy (spec/statistics: "calibration")."""

import numpy as np
from numpy.typing import NDArray

from service.domain import CORRECT_TYPES, TOP1_CORRECT_TYPES, Bin, Bytes, Calibration, Mask, is_among

BINS = 15


def calibrate(types: Bytes, probability: NDArray[np.floating], is_target: Mask | None = None) -> Calibration:
    """Return the calibration of n samples.

    Bins have equal width and include their upper bound, rounded to the type of the probabilities. Probabilities that
    are NaN or infinite are skipped.

    Args:
        types: (n,) ID of the error type of each sample.
        probability: (n,) probability of the predicted class.
        is_target: (n,) whether the prediction is the original label. None: no target is rejected, so that the
            types determine this.
    """
    finite = np.isfinite(probability)
    confidence = probability[finite].astype(np.float64)
    top1_correct = is_among(types, TOP1_CORRECT_TYPES) if is_target is None else is_target
    correct = np.stack([top1_correct[finite], is_among(types[finite], CORRECT_TYPES)])
    bounds = (np.arange(1, BINS) / BINS).astype(probability.dtype)  # 0.6 as float16 is above 0.6
    bin_index = np.searchsorted(bounds, probability[finite], "left")
    samples = np.bincount(bin_index, minlength=BINS)
    sums = np.stack([np.bincount(bin_index, weights=quantity, minlength=BINS) for quantity in (confidence, *correct)])
    bins = tuple(
        Bin(
            low=row / BINS,
            high=(row + 1) / BINS,
            num_samples=int(count),
            confidence=float(sums[0, row] / count) if count else None,
            top1_accuracy=float(sums[1, row] / count) if count else None,
            multi_label_accuracy=float(sums[2, row] / count) if count else None,
        )
        for row, count in enumerate(samples.tolist())
    )
    total = len(confidence)
    errors = [float(np.abs(sums[0] - num_correct).sum() / total) if total else None for num_correct in sums[1:]]
    return Calibration(bins, errors[0], errors[1])

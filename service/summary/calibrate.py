"""Calibrate: how sure a model was, held against how often it was right (spec/statistics: "calibration")."""

import numpy as np
from numpy.typing import NDArray

from service.domain import Bin, Bytes, Calibration, ErrorType

BINS = 15


def calibrate(types: Bytes, probability: NDArray[np.floating]) -> Calibration:
    """Return the calibration of n judged samples: types and probability of the predicted class, (n,) both.

    Bins are equally wide; each holds its upper end. Probabilities that aren't numbers are left out.
    """
    known = np.isfinite(probability)
    confidence = probability[known].astype(np.float64)
    right = np.stack([types[known] == ErrorType.CORRECT, types[known] <= ErrorType.MULTI_LABEL])
    place = np.searchsorted(np.arange(1, BINS) / BINS, confidence, "left")
    samples = np.bincount(place, minlength=BINS)
    sums = np.stack([np.bincount(place, weights=item, minlength=BINS) for item in (confidence, *right)])
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
    errors = [float(np.abs(sums[0] - item).sum() / total) if total else None for item in sums[1:]]
    return Calibration(bins, errors[0], errors[1])

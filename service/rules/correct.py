"""Correct: the prediction is the original label."""

import numpy as np

from service.domain import NUM_CLASSES, Evidence, Mask


def hits(evidence: Evidence) -> Mask:
    """Return the predictions for which the rule holds, shape (N, C)."""
    return np.equal(evidence.targets[:, None], np.arange(NUM_CLASSES, dtype=np.int16))

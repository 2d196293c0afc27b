"""Correct: the prediction is the original label, and the original label is one of the labels of the image."""

import numpy as np

from service.domain import Classes, Evidence, Mask


def hits(evidence: Evidence, predicted: Classes) -> Mask:
    """Return the predictions for which the rule holds, shape (N, K)."""
    is_target = np.equal(evidence.targets[:, None], predicted)
    return np.asarray(is_target & evidence.targets_are_labels[:, None])

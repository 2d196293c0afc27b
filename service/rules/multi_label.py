"""Multi-label: the prediction is one of the labels of the image, but not the original label."""

import numpy as np

from service.domain import Classes, Evidence, Mask


def hits(evidence: Evidence, predicted: Classes) -> Mask:
    """Return the predictions for which the rule holds, shape (N, K)."""
    return evidence.any_label(np.equal, predicted)

"""Spurious correlation: the prediction and a label of the image are a co-occurrence pair."""

import numpy as np

from service.domain import Classes, Evidence, Mask


def hits(evidence: Evidence, predicted: Classes) -> Mask:
    """Return the predictions for which the rule holds, shape (N, K). Without co-occurrence pairs, it never holds."""
    if evidence.cooccurrence is None:
        return np.zeros((len(evidence), predicted.shape[1]), dtype=bool)
    return evidence.any_label(evidence.cooccurrence.holds, predicted)

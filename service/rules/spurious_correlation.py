"""Spurious correlation: the prediction and a multi-label of the image are a co-occurrence pair."""

import numpy as np

from service.domain import NUM_CLASSES, Evidence, Mask


def hits(evidence: Evidence) -> Mask:
    """Return the predictions for which the rule holds, shape (N, C); none without co-occurrence pairs."""
    if evidence.cooccurrence is None:
        return np.zeros((len(evidence), NUM_CLASSES), dtype=bool)
    return evidence.related_to_a_label(evidence.cooccurrence)

"""Spurious correlation: the prediction is often seen together with a class that is in the image."""

import numpy as np

from service.domain import NUM_CLASSES, Evidence, Mask


def hits(evidence: Evidence) -> Mask:
    """Return which predictions this rule claims, shape (N, C); none without co-occurrence pairs."""
    if evidence.cooccurrence is None:
        return np.zeros((len(evidence), NUM_CLASSES), dtype=bool)
    return evidence.related_to_a_label(evidence.cooccurrence)

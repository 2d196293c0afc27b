"""Multi-label: the prediction is one of the multi-labels of the image, but not the original label."""

from service.domain import Evidence, Mask


def hits(evidence: Evidence) -> Mask:
    """Return the predictions for which the rule holds, shape (N, C)."""
    return evidence.label_mask

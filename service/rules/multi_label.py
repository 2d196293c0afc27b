"""Missing multi-label: the prediction is in the image, or may be, though it isn't the original label."""

from service.domain import Evidence, Mask


def hits(evidence: Evidence) -> Mask:
    """Return which predictions this rule claims, shape (N, C)."""
    return evidence.label_mask

"""Class overlap: the prediction is another ImageNet class for the same kind of object as the effective target."""

from service.domain import Evidence, Mask


def hits(evidence: Evidence) -> Mask:
    """Return the predictions for which the rule holds, shape (N, C)."""
    return evidence.overlap[evidence.effective_targets]

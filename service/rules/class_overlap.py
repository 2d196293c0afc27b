"""Class overlap: the prediction is another class for the same kind of object as the effective target."""

from service.domain import Classes, Evidence, Mask


def hits(evidence: Evidence, predicted: Classes) -> Mask:
    """Return the predictions for which the rule holds, shape (N, K)."""
    return evidence.overlap.holds(evidence.effective_targets[:, None], predicted)

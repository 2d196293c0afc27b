"""Fine-grained: the prediction shares a superclass with a multi-label of the image."""

from service.domain import Evidence, Mask


def hits(evidence: Evidence) -> Mask:
    """Return the predictions for which the rule holds, shape (N, C)."""
    return evidence.related_to_a_label(evidence.same_superclass)

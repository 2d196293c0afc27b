"""Fine-grained: the prediction shares a superclass with a class that is in the image."""

from service.domain import Evidence, Mask


def hits(evidence: Evidence) -> Mask:
    """Return which predictions this rule claims, shape (N, C)."""
    return evidence.related_to_a_label(evidence.same_superclass)

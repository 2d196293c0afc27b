"""Fine-grained: the prediction shares a superclass with a label of the image."""

from service.domain import Classes, Evidence, Mask


def hits(evidence: Evidence, predicted: Classes) -> Mask:
    """Return the predictions for which the rule holds, shape (N, K)."""
    return evidence.any_label(evidence.superclasses.share, predicted)

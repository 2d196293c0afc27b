"""Non-prototypical: annotators found that the image shows its class in an unusual way."""

import numpy as np

from service.domain import NUM_CLASSES, Evidence, Mask


def hits(evidence: Evidence) -> Mask:
    """Return which predictions this rule claims, shape (N, C): every one of a listed image; none without a list."""
    if evidence.non_prototypical is None:
        return np.zeros((len(evidence), NUM_CLASSES), dtype=bool)
    return np.broadcast_to(evidence.non_prototypical[:, None], (len(evidence), NUM_CLASSES))

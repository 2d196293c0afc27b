"""Non-prototypical: annotators listed the image as an unusual instance of its class."""

import numpy as np

from service.domain import NUM_CLASSES, Evidence, Mask


def hits(evidence: Evidence) -> Mask:
    """Return the predictions for which the rule holds, shape (N, C): all predictions of the listed images."""
    if evidence.non_prototypical is None:
        return np.zeros((len(evidence), NUM_CLASSES), dtype=bool)
    return np.broadcast_to(evidence.non_prototypical[:, None], (len(evidence), NUM_CLASSES))

"""Non-prototypical: annotators listed the image as an unusual instance of its class."""

import numpy as np

from service.domain import Classes, Evidence, Mask


def hits(evidence: Evidence, predicted: Classes) -> Mask:
    """Return the predictions for which the rule holds, shape (N, K): all predictions of the listed images."""
    shape = (len(evidence), predicted.shape[1])
    if evidence.non_prototypical is None:
        return np.zeros(shape, dtype=bool)
    return np.broadcast_to(evidence.non_prototypical[:, None], shape)

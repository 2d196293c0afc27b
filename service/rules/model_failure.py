"""Model failure: no other rule explains the error. These are the severe errors."""

import numpy as np

from service.domain import NUM_CLASSES, Evidence, Mask


def hits(evidence: Evidence) -> Mask:
    """Return the predictions for which the rule holds, shape (N, C): all of them."""
    return np.ones((len(evidence), NUM_CLASSES), dtype=bool)

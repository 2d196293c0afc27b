"""Fine-grained, out of vocabulary (OOV): the image shows an object of no class, similar to the prediction.

The CLIP decisions for all (image, class) pairs are part of the evidence (service/evidence/vocabulary.py).
"""

import numpy as np

from service.domain import NUM_CLASSES, Evidence, Mask


def hits(evidence: Evidence) -> Mask:
    """Return the predictions for which the rule holds, shape (N, C); none without CLIP decisions."""
    if evidence.oov is None:
        return np.zeros((len(evidence), NUM_CLASSES), dtype=bool)
    return np.unpackbits(evidence.oov, axis=1, count=NUM_CLASSES).view(bool)

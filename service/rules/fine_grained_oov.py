"""Fine-grained, out of vocabulary (OOV): the image shows an object that is similar to the prediction, but of no class.

CLIP decides this for every pair of an image and a class when a bundle is built (service/evidence/vocabulary.py).
"""

import numpy as np

from service.domain import Classes, Evidence, Mask


def hits(evidence: Evidence, predicted: Classes) -> Mask:
    """Return the predictions for which the rule holds, shape (N, K). Without CLIP decisions, it never holds."""
    if evidence.oov is None:
        return np.zeros((len(evidence), predicted.shape[1]), dtype=bool)
    bits = evidence.oov[np.arange(len(evidence))[:, None], predicted >> 3]
    return np.asarray(bits >> (7 - (predicted & 7)).astype(np.uint8) & 1, dtype=bool)

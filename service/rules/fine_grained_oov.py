"""Fine-grained, out of vocabulary: what the image shows is close to the prediction, but no ImageNet class.

The CLIP decision for every (image, class) is made when evidence is built (service/evidence/vocabulary.py).
"""

import numpy as np

from service.domain import NUM_CLASSES, Evidence, Mask


def hits(evidence: Evidence) -> Mask:
    """Return which predictions this rule claims, shape (N, C); none without CLIP's decisions."""
    if evidence.oov is None:
        return np.zeros((len(evidence), NUM_CLASSES), dtype=bool)
    return np.unpackbits(evidence.oov, axis=1, count=NUM_CLASSES).view(bool)

"""The comparison of one image with the texts of one prediction, without batches: the reference of `compare_all`."""

import numpy as np
from numpy.typing import NDArray

from service.domain import ProposedText, VocabularyEvidence
from service.evidence.encoder import Embeddings
from service.evidence.neighbors import similarities
from service.evidence.vocabulary import NUM_BEST, TEMPERATURE, gate
from service.taxonomy.proposals import Proposals


def compare(
    image: Embeddings,
    texts: Embeddings,
    target: int,
    predicted: int,
    neighbors: NDArray[np.int16],
    proposals: Proposals,
) -> VocabularyEvidence:
    """Return the evidence for one image and one prediction.

    Args:
        image: (1, d) embedding of the image.
        texts: (T, d) embeddings of `proposals.texts`.
        target: Effective target.
        predicted: Predicted class.
        neighbors: (1, 10) classes of the nearest training images.
        proposals: Proposals for all classes.
    """
    candidates = proposals.list_of(predicted)
    allowed = np.flatnonzero(proposals.allowed_texts(predicted, np.array([target]))[0])
    _, first = np.unique(candidates.texts[allowed], return_index=True)  # a text belongs to its first concept
    distinct = allowed[np.sort(first)]
    scores = similarities(image, texts[candidates.texts[distinct]])[0].astype(np.float64)
    weights = np.exp(TEMPERATURE * (scores - scores.max()))
    best = np.argsort(-scores, kind="stable")[:NUM_BEST]
    return VocabularyEvidence(
        gate=bool(gate(neighbors, np.array([predicted]), proposals.superclasses)[0]),
        best=tuple(
            ProposedText(
                proposals.texts[candidates.texts[distinct[index]]],
                float(weights[index] / weights.sum()),
                bool(candidates.outside[distinct[index]]),
            )
            for index in best
        ),
        num_texts=len(distinct),
    )

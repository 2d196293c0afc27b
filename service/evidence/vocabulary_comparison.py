"""Compare images with the texts of their predictions. Each predicted class needs one matrix product per block."""

import numpy as np
from numpy.typing import NDArray

from service.domain import Classes, Mask, ProposedText, VocabularyEvidence
from service.evidence.encoder import Embeddings
from service.evidence.neighbors import similarities
from service.evidence.vocabulary import NUM_BEST, TEMPERATURE, gate
from service.taxonomy.proposals import Proposals

BLOCK = 1024  # images of one predicted class that are compared at once, which limits memory


def compare_all(
    images: Embeddings,
    texts: Embeddings,
    targets: Classes,
    predicted: Classes,
    neighbors: NDArray[np.int16],
    proposals: Proposals,
) -> list[VocabularyEvidence]:
    """Return the evidence for each of K images and its prediction.

    Args:
        images: (K, d) embeddings.
        texts: (T, d) embeddings, in the order of `proposals.texts`.
        targets: (K,) effective targets.
        predicted: (K,) predicted classes.
        neighbors: (K, 10) classes of the nearest training images.
        proposals: The texts that each prediction is compared with.
    """
    results: dict[int, VocabularyEvidence] = {}
    gates = gate(neighbors, predicted, proposals.superclasses)
    for class_index in np.unique(predicted).tolist():
        listed = proposals.list_of(class_index)
        text_embeddings = texts[listed.texts]
        samples = np.flatnonzero(predicted == class_index)
        for start in range(0, len(samples), BLOCK):
            block = samples[start : start + BLOCK]
            is_first = _first_occurrences(listed.texts, proposals.allowed_texts(class_index, targets[block]))
            scores = np.where(is_first, similarities(images[block], text_embeddings).astype(np.float64), -np.inf)
            weights = np.exp(TEMPERATURE * (scores - scores.max(axis=1, keepdims=True)))
            probabilities = weights / weights.sum(axis=1, keepdims=True)
            best = np.argsort(-scores, axis=1, kind="stable")[:, :NUM_BEST]
            num_texts = np.count_nonzero(is_first, axis=1).tolist()
            for row, sample in enumerate(block.tolist()):
                results[sample] = VocabularyEvidence(
                    gate=bool(gates[sample]),
                    best=tuple(
                        ProposedText(
                            proposals.texts[listed.texts[place]],
                            float(probabilities[row, place]),
                            bool(listed.outside[place]),
                        )
                        for place in best[row, : num_texts[row]].tolist()
                    ),
                    num_texts=num_texts[row],
                )
    return [results[sample] for sample in range(len(predicted))]


def _first_occurrences(texts: NDArray[np.int32], allowed: Mask) -> Mask:
    """Return the first allowed entry of each text as a mask, (k, n)."""
    order = np.argsort(texts, kind="stable")
    ordered = allowed[:, order]
    before: NDArray[np.intp] = np.cumsum(ordered, axis=1) - ordered  # number of allowed entries before each one
    first_of_text = np.searchsorted(texts[order], texts[order])
    is_first = np.empty_like(allowed)
    is_first[:, order] = ordered & (before == before[:, first_of_text])
    return is_first

"""Vocabulary: whether what an image shows is outside ImageNet's, for every image and every possible prediction.

The gate holds where, among the superclasses of the 10 nearest training images' classes, one is a superclass of the
prediction. Where it holds, CLIP's best proposal decides (taxonomy/proposals.py): the first with the highest score.
"""

import numpy as np
from numpy.typing import NDArray

from service.domain import NUM_CLASSES, Bytes, Classes, Mask, ProposedText, VocabularyEvidence
from service.evidence.encoder import Embeddings, Progress
from service.evidence.neighbors import similarities
from service.taxonomy.proposals import Proposals

BLOCK = 1024  # images decided at once: some 40 MB of scores
TEMPERATURE = 100.0
BEST = 5


def gate(neighbors: NDArray[np.int16], same_superclass: Mask) -> Mask:
    """Return for which predictions the gate holds, (N, C); neighbors: (N, 10) classes."""
    return np.asarray(np.logical_or.reduce([same_superclass[column] for column in neighbors.T]))


def decide_oov(
    images: Embeddings,
    texts: Embeddings,
    targets: Classes,
    neighbors: NDArray[np.int16],
    proposals: Proposals,
    progress: Progress,
) -> Bytes:
    """Return the decision for every (image, class) as bits, (N, C / 8).

    images (N, d), texts (T, d) in the order of proposals.texts, targets (N,), neighbors (N, 10). Memory is bounded by
    BLOCK; no block size changes a decision, since scores are rounded and the first maximum wins.
    """
    packed = np.zeros((len(images), NUM_CLASSES // 8), dtype=np.uint8)
    for start in range(0, len(images), BLOCK):
        rows = slice(start, start + BLOCK)
        scores = similarities(images[rows], texts)
        open_gate = gate(neighbors[rows], proposals.same_superclass)
        packed[rows] = np.packbits(_decide_block(scores, targets[rows], open_gate, proposals), axis=1)
        progress("decisions", min(start + BLOCK, len(images)), len(images))
    return packed


def compare(
    image: Embeddings,
    texts: Embeddings,
    target: int,
    predicted: int,
    neighbors: NDArray[np.int16],
    proposals: Proposals,
) -> VocabularyEvidence:
    """Return the evidence for one image and prediction; image (1, d), neighbors (1, 10)."""
    listed = proposals.lists[predicted]
    allowed = np.flatnonzero(proposals.allowed(predicted, np.array([target]))[0])
    _, first = np.unique(listed.texts[allowed], return_index=True)  # a text belongs to its first synset
    distinct = allowed[np.sort(first)]
    scores = similarities(image, texts[listed.texts[distinct]])[0].astype(np.float64)
    weights = np.exp(TEMPERATURE * (scores - scores.max()))
    best = np.argsort(-scores, kind="stable")[:BEST]
    return VocabularyEvidence(
        gate=bool(gate(neighbors, proposals.same_superclass)[0, predicted]),
        best=tuple(
            ProposedText(
                proposals.texts[listed.texts[distinct[place]]],
                float(weights[place] / weights.sum()),
                bool(listed.outside[distinct[place]]),
            )
            for place in best
        ),
        num_texts=len(distinct),
    )


def _decide_block(scores: NDArray[np.float32], targets: Classes, open_gate: Mask, proposals: Proposals) -> Mask:
    outside = np.zeros(open_gate.shape, dtype=bool)
    for predicted in np.flatnonzero(open_gate.any(axis=0)).tolist():
        listed = proposals.lists[predicted]
        rows = np.flatnonzero(open_gate[:, predicted])
        result = scores[np.ix_(rows, listed.texts)]
        if listed.blockable.any():
            result = np.where(proposals.allowed(predicted, targets[rows]), result, -np.inf)
        outside[rows, predicted] = listed.outside[result.argmax(axis=1)]
    return outside

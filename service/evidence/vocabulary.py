"""Out-of-vocabulary (OOV) decisions for all images and all possible predictions (spec: rule 5).

The gate holds if a class of the 10 nearest training images shares a superclass with the prediction. If it holds, CLIP's
best proposal decides: the first proposal with the highest score (taxonomy/proposals.py).
"""

import numpy as np
from numpy.typing import NDArray

from service.domain import NUM_CLASSES, Bytes, Classes, Mask, ProposedText, VocabularyEvidence
from service.evidence.encoder import Embeddings, Progress
from service.evidence.neighbors import similarities
from service.taxonomy.proposals import Proposals

BLOCK = 1024  # images per block: about 40 MB of scores
TEMPERATURE = 100.0
NUM_BEST = 5  # texts in the evidence


def gate(neighbors: NDArray[np.int16], same_superclass: Mask) -> Mask:
    """Return the predictions for which the gate holds, (N, C); neighbors: (N, 10) classes."""
    return np.asarray(np.logical_or.reduce([same_superclass[column] for column in neighbors.T]))


def decide_oov(
    images: Embeddings,
    texts: Embeddings,
    targets: Classes,
    neighbors: NDArray[np.int16],
    proposals: Proposals,
    progress: Progress,
) -> Bytes:
    """Decide for every (image, class) whether the best proposal is outside ImageNet.

    Scores are rounded, and the first maximum wins, so the size of a block does not affect decisions.

    Args:
        images: (N, d) embeddings of the images.
        texts: (T, d) embeddings of `proposals.texts`.
        targets: (N,) target classes.
        neighbors: (N, 10) classes of the nearest training images.
        proposals: Proposals for all classes.
        progress: Called first, and after each block.

    Returns:
        (N, C / 8) decisions as bits.
    """
    packed = np.zeros((len(images), NUM_CLASSES // 8), dtype=np.uint8)
    progress("decisions", 0, len(images))
    for start in range(0, len(images), BLOCK):
        rows = slice(start, start + BLOCK)
        scores = similarities(images[rows], texts)
        gate_holds = gate(neighbors[rows], proposals.same_superclass)
        packed[rows] = np.packbits(_decide_block(scores, targets[rows], gate_holds, proposals), axis=1)
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
    """Return the evidence for one image and one prediction.

    Args:
        image: (1, d) embedding of the image.
        texts: (T, d) embeddings of `proposals.texts`.
        target: Target class.
        predicted: Predicted class.
        neighbors: (1, 10) classes of the nearest training images.
        proposals: Proposals for all classes.
    """
    candidates = proposals.lists[predicted]
    allowed = np.flatnonzero(proposals.allowed_texts(predicted, np.array([target]))[0])
    _, first = np.unique(candidates.texts[allowed], return_index=True)  # a text belongs to its first synset
    distinct = allowed[np.sort(first)]
    scores = similarities(image, texts[candidates.texts[distinct]])[0].astype(np.float64)
    weights = np.exp(TEMPERATURE * (scores - scores.max()))
    best = np.argsort(-scores, kind="stable")[:NUM_BEST]
    return VocabularyEvidence(
        gate=bool(gate(neighbors, proposals.same_superclass)[0, predicted]),
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


def _decide_block(scores: NDArray[np.float32], targets: Classes, gate_holds: Mask, proposals: Proposals) -> Mask:
    outside = np.zeros(gate_holds.shape, dtype=bool)
    for predicted in np.flatnonzero(gate_holds.any(axis=0)).tolist():
        candidates = proposals.lists[predicted]
        rows = np.flatnonzero(gate_holds[:, predicted])
        candidate_scores = scores[np.ix_(rows, candidates.texts)]
        if candidates.blockable.any():
            candidate_scores = np.where(proposals.allowed_texts(predicted, targets[rows]), candidate_scores, -np.inf)
        outside[rows, predicted] = candidates.outside[candidate_scores.argmax(axis=1)]
    return outside

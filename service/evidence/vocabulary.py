"""Out-of-vocabulary (OOV) decisions, which the rule of FINE_GRAINED_OOV needs, for all images and predictions.

The gate is the condition that the class of one of the 10 nearest training images equals the prediction or shares a
superclass with it. If the gate holds, CLIP's best proposal decides: the first proposal with the highest score
(taxonomy/proposals.py). The decisions also record, for information only, whether a label of the image scores higher
than the best proposal.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.domain import Bytes, Classes, Labels, Mask, Superclasses
from service.evidence.encoder import Embeddings, Progress
from service.evidence.neighbors import similarities
from service.taxonomy.number_lists import NumberLists
from service.taxonomy.proposals import Proposals

BLOCK = 1024  # images per block: about 40 MB of scores for ImageNet
MAX_CELLS = 32 << 20  # scores per block: 0.4 GB while they are computed
TEMPERATURE = 100.0
NUM_BEST = 5  # texts in the evidence


@dataclass(frozen=True)
class ClipImages:
    """N images with their CLIP evidence and their labels."""

    embeddings: Embeddings  # (N, d)
    targets: Classes  # (N,) effective targets, which block some near concepts (taxonomy/proposals.py)
    labels: Labels
    neighbors: NDArray[np.int16]  # (N, 10) classes of the nearest training images

    def rows(self, start: int, stop: int) -> "ClipImages":
        """Return the images from start to stop."""
        rows = slice(start, stop)
        labels = self.labels.rows(start, stop)
        return ClipImages(self.embeddings[rows], self.targets[rows], labels, self.neighbors[rows])


@dataclass(frozen=True)
class OovDecisions:
    """Decisions for every (image, class) as bits, (N, ceil(C / 8))."""

    oov: Bytes  # the gate holds, and the best proposal is no class
    label_preferred: Bytes  # the gate holds, and a label of the image scores higher than the best proposal


def gate(neighbors: NDArray[np.int16], predicted: Classes, superclasses: Superclasses) -> Mask:
    """Return whether the gate holds for one prediction of each image, (n,); neighbors: (n, 10) classes."""
    return np.asarray(superclasses.share(neighbors, predicted[:, None]).any(axis=1))


def gate_for_all_classes(neighbors: NDArray[np.int16], superclasses: Superclasses) -> Mask:
    """Return whether the gate holds for every prediction, (n, C); neighbors: (n, 10) classes."""
    images = np.arange(len(neighbors))
    holds = np.zeros((len(neighbors), superclasses.num_classes), dtype=bool)
    holds[images[:, None], neighbors] = True
    positions, numbers = NumberLists(superclasses.offsets, superclasses.numbers).take(neighbors.reshape(-1))
    near = np.zeros((len(neighbors), len(superclasses.ids)), dtype=bool)  # superclasses of the neighbors
    near[positions // neighbors.shape[1], numbers] = True
    classes = np.flatnonzero(np.diff(superclasses.offsets))
    if len(classes):
        of_members = near[:, superclasses.numbers]
        holds[:, classes] |= np.logical_or.reduceat(of_members, superclasses.offsets[classes], axis=1)
    return holds


def decide_oov(images: ClipImages, texts: Embeddings, proposals: Proposals, progress: Progress) -> OovDecisions:
    """Decide, for every (image, class), whether the best proposal is no class and whether a label scores higher.

    Scores are rounded, and the first of equal maxima counts, so the size of a block does not affect decisions.

    Args:
        images: The images.
        texts: (T, d) embeddings of `proposals.texts`.
        proposals: Proposals for all classes.
        progress: Called before the first block and after each block.
    """
    total, superclasses = len(images.targets), proposals.superclasses
    oov = np.zeros((total, -(-superclasses.num_classes // 8)), dtype=np.uint8)
    label_preferred = np.zeros_like(oov)
    widest = max(len(texts), superclasses.num_classes, len(superclasses.ids), len(superclasses.numbers))
    block = max(1, min(BLOCK, MAX_CELLS // widest))
    exact_texts = texts.astype(np.float64)
    progress("decisions", 0, total)
    for start in range(0, total, block):
        stop = min(start + block, total)
        masks = _decide_block(images.rows(start, stop), exact_texts, proposals)
        oov[start:stop], label_preferred[start:stop] = (np.packbits(mask, axis=1) for mask in masks)
        progress("decisions", stop, total)
    return OovDecisions(oov, label_preferred)


def _decide_block(images: ClipImages, texts: NDArray[np.float64], proposals: Proposals) -> tuple[Mask, Mask]:
    """Return the two decisions as masks, (n, C)."""
    scores = similarities(images.embeddings, texts)
    gate_holds = gate_for_all_classes(images.neighbors, proposals.superclasses)
    label_scores = _best_label_scores(scores, images.labels, proposals)
    outside, label_preferred = np.zeros(gate_holds.shape, dtype=bool), np.zeros(gate_holds.shape, dtype=bool)
    for predicted in np.flatnonzero(gate_holds.any(axis=0)).tolist():
        candidates = proposals.list_of(predicted)
        rows = np.flatnonzero(gate_holds[:, predicted])
        candidate_scores = scores[np.ix_(rows, candidates.texts)]
        if candidates.blockable.any():
            allowed = proposals.allowed_texts(predicted, images.targets[rows])
            candidate_scores = np.where(allowed, candidate_scores, -np.inf)
        outside[rows, predicted] = candidates.outside[candidate_scores.argmax(axis=1)]
        label_preferred[rows, predicted] = label_scores[rows] > candidate_scores.max(axis=1)
    return outside, label_preferred


def _best_label_scores(scores: NDArray[np.float32], labels: Labels, proposals: Proposals) -> NDArray[np.float32]:
    """Return the highest score among the texts of each image's labels, (n,); -inf without labels; scores: (n, T)."""
    best = np.full(len(scores), -np.inf, dtype=np.float32)
    for class_index in np.unique(labels.classes).tolist():
        rows = labels.samples[labels.classes == class_index]
        of_class = scores[np.ix_(rows, proposals.class_texts(class_index))].max(axis=1)
        best[rows] = np.maximum(best[rows], of_class)
    return best

"""Similarities of pairs of classes, from the confusions of a model or from the embeddings of class names."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from service.domain import Classes, LabelSpace
from service.evidence.encoder import Encoder, embed_texts
from service.evidence.inputs import LabelInputs
from service.taxonomy.class_clusters import Similarities
from service.taxonomy.proposals import prompt

MIN_CONFUSION = 0.01  # share of the images of two classes that are predicted as the other of the two classes
MIN_TEXT_SIMILARITY = 0.1  # cosine similarity, after the mean of all classes is subtracted
MOST_SIMILAR = 64  # texts per class
BLOCK = 1024  # classes per block of similarities


def confusion_similarities(images: LabelInputs, predicted: Classes, num_classes: int) -> Similarities:
    """Yield, for pairs of classes, the share of their images that a model predicts as the other class of the pair.

    Args:
        images: A data set with A images.
        predicted: (A,) predicted class of each image; -1: no prediction.
        num_classes: Number of classes.
    """
    counted = np.flatnonzero(~images.problematic)
    labels, targets = images.labels.take(counted), images.effective_targets[counted].astype(np.int64)
    top1 = predicted[images.rows[counted]].astype(np.int64)
    sizes = np.bincount(targets, minlength=num_classes)
    wrong = (top1 >= 0) & ~labels.contain(top1.astype(np.int16))
    low, high = np.minimum(targets, top1)[wrong], np.maximum(targets, top1)[wrong]
    codes, counts = np.unique(low * num_classes + high, return_counts=True)
    for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
        first, second = divmod(code, num_classes)
        if first != second:
            yield first, second, count / int(sizes[first] + sizes[second])


def text_similarities(encoder: Encoder, label_space: LabelSpace) -> Iterator[tuple[int, int, float]]:
    """Yield the cosine similarity of each class name to the names most similar to it, if the similarity is positive.

    The texts of all names have parts in common, such as the prompt. The mean of their embeddings is therefore
    subtracted, so that unrelated names have a similarity of about 0 for any encoder.
    """
    texts = [prompt(name) for name in label_space.names]
    embeddings = embed_texts(encoder, texts).astype(np.float64)
    centered = embeddings - embeddings.mean(axis=0)
    norms = np.linalg.norm(centered, axis=1, keepdims=True)
    centered /= np.where(norms > 0, norms, 1)
    pairs: dict[tuple[int, int], float] = {}
    for start in range(0, len(texts), BLOCK):
        scores = centered[start : start + BLOCK] @ centered.T
        scores[np.arange(len(scores)), np.arange(start, start + len(scores))] = -1
        for row, nearest in enumerate(_largest(scores, MOST_SIMILAR)):
            for other in nearest.tolist():
                if scores[row, other] > 0:
                    pairs[min(start + row, other), max(start + row, other)] = float(scores[row, other])
    return ((first, second, value) for (first, second), value in pairs.items())


def _largest(scores: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Return the columns of the largest scores of each row, in any order."""
    count = min(count, scores.shape[1] - 1)
    return np.argpartition(-scores, count - 1, axis=1)[:, :count]

"""Exact nearest neighbors: the classes of the training images that are most similar to each image."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from service.domain import Classes
from service.evidence.artefacts import NEIGHBORS
from service.evidence.encoder import Embeddings

BLOCK = 2048  # images per comparison


def nearest_classes(images: Embeddings, train: Iterable[Embeddings], train_classes: Classes) -> NDArray[np.int16]:
    """Return the classes of the 10 training images that are most similar to each image.

    Scores are float64 products rounded to float32. Among equal scores, the earlier training image comes first.

    Args:
        images: (A, d) embeddings of the images.
        train: Embeddings of the M training images, in chunks.
        train_classes: (M,) classes of the training images.

    Returns:
        (A, 10) classes, the most similar first.
    """
    scores = np.full((len(images), NEIGHBORS), -np.inf, dtype=np.float32)
    neighbors = np.zeros((len(images), NEIGHBORS), dtype=np.int64)
    start = 0
    for chunk in train:
        chunk_rows = np.arange(start, start + len(chunk))
        for first in range(0, len(images), BLOCK):
            rows = slice(first, first + BLOCK)
            chunk_scores = similarities(images[rows], chunk)
            all_scores = np.concatenate([scores[rows], chunk_scores], axis=1)
            candidates = np.concatenate([neighbors[rows], np.broadcast_to(chunk_rows, chunk_scores.shape)], axis=1)
            order = np.argsort(-all_scores, axis=1, kind="stable")[:, :NEIGHBORS]
            scores[rows] = np.take_along_axis(all_scores, order, axis=1)
            neighbors[rows] = np.take_along_axis(candidates, order, axis=1)
        start += len(chunk)
    return train_classes[neighbors]


def similarities(left: Embeddings, right: Embeddings) -> NDArray[np.float32]:
    """Return the cosine similarities of unit vectors, (n, m), as float64 products rounded to float32."""
    return (left.astype(np.float64) @ right.astype(np.float64).T).astype(np.float32)

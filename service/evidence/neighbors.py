"""Neighbors: the classes of the training images that are nearest to each image, exactly, chunk by chunk."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from service.domain import Classes
from service.evidence.artefacts import NEIGHBORS
from service.evidence.encoder import Embeddings

BLOCK = 2048  # images compared at once


def nearest_classes(images: Embeddings, train: Iterable[Embeddings], train_classes: Classes) -> NDArray[np.int16]:
    """Return the classes of the 10 training images most similar to each image, (A, 10), the most similar first.

    images (A, d); train yields the training images' embeddings in order, train_classes (M,) their classes. Scores are
    float64 products rounded to float32; of equal ones the earlier training image is nearer.
    """
    scores = np.full((len(images), NEIGHBORS), -np.inf, dtype=np.float32)
    places = np.zeros((len(images), NEIGHBORS), dtype=np.int64)
    start = 0
    for chunk in train:
        numbers = np.arange(start, start + len(chunk))
        for first in range(0, len(images), BLOCK):
            rows = slice(first, first + BLOCK)
            result = similarities(images[rows], chunk)
            candidates = np.concatenate([scores[rows], result], axis=1)
            owners = np.concatenate([places[rows], np.broadcast_to(numbers, result.shape)], axis=1)
            order = np.argsort(-candidates, axis=1, kind="stable")[:, :NEIGHBORS]
            scores[rows] = np.take_along_axis(candidates, order, axis=1)
            places[rows] = np.take_along_axis(owners, order, axis=1)
        start += len(chunk)
    return train_classes[places]


def similarities(left: Embeddings, right: Embeddings) -> NDArray[np.float32]:
    """Return the cosine similarities of unit vectors, (n, m): float64 products rounded to float32."""
    return (left.astype(np.float64) @ right.astype(np.float64).T).astype(np.float32)

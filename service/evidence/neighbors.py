"""Exact nearest neighbors: the classes of the training images that are most similar to each image.

First, float32 scores of all pairs exclude the training images that cannot be neighbors. Then exact scores, which are
float64 products rounded to float32, decide between the remaining candidates. Each limit of the first step includes a
margin for the rounding errors of float32 scores, so the result equals a full sort by exact scores (ADR 0058).
"""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from service.domain import Classes
from service.evidence.artefacts import NEIGHBORS
from service.evidence.encoder import Embeddings
from service.evidence.score_blocks import ScoreBlocks, Scores, new_score_blocks, rounding_error

PAIRS = 256  # pairs per block of exact scores, so that their embeddings stay in the processor's cache
DENSE = 32  # above 1 candidate in 32 pairs, as among duplicates, a matrix product is faster


def nearest_classes(
    images: Embeddings,
    train: Iterable[Embeddings],
    train_classes: Classes,
    new_blocks: Callable[[Embeddings], ScoreBlocks] = new_score_blocks,
) -> NDArray[np.int16]:
    """Return the classes of the 10 training images that are most similar to each image.

    Among equal scores, the earlier training image comes first.

    Args:
        images: (A, d) embeddings of the images.
        train: Embeddings of the M training images, in chunks.
        train_classes: (M,) classes of the training images.
        new_blocks: Creates the object that computes float32 scores.

    Returns:
        (A, 10) classes, the most similar first.
    """
    search = _Search(images)
    blocks = new_blocks(images)
    for chunk in train:
        margin = search.margin(chunk)
        for rows, scores in blocks.multiply(chunk):
            search.add(rows, scores, chunk, margin[rows])
        search.num_train += len(chunk)
    return train_classes[search.neighbors]


class _Search:
    """The nearest training images of each image, among the chunks that were added so far."""

    def __init__(self, images: Embeddings) -> None:
        self._images = images
        self._norms = np.linalg.norm(images.astype(np.float64), axis=1)
        self._scores = np.full((len(images), NEIGHBORS), -np.inf, dtype=np.float32)
        self.neighbors = np.zeros((len(images), NEIGHBORS), dtype=np.int64)
        self.num_train = 0

    def margin(self, chunk: Embeddings) -> NDArray[np.float64]:
        """Return the maximum difference of the float32 and exact scores of each image, (A,)."""
        largest_norm = np.linalg.norm(chunk.astype(np.float64), axis=1).max(initial=0)
        dimensions = chunk.shape[1]
        underflow = dimensions * float(np.finfo(np.float32).tiny)
        return np.asarray(rounding_error(dimensions) * largest_norm * self._norms + underflow)

    def add(self, block: slice, scores: Scores, chunk: Embeddings, margin: NDArray[np.float64]) -> None:
        """Add the training images of a chunk to the neighbors of a block of images.

        Args:
            block: Rows of the k images.
            scores: Their float32 scores with the m training images.
            chunk: (m, d) embeddings of the training images.
            margin: (k,) maximum differences of float32 and exact scores.
        """
        lowest = self._scores[block, -1] - margin  # a training image with a lower score cannot be a neighbor
        rows = scores.rows_at_least(_round_down(lowest))
        if not len(rows):
            return
        limits = lowest[rows]
        if len(chunk) >= NEIGHBORS:  # then ten exact scores of the chunk are at least `largest - margin`
            largest = scores.kth_largest(rows, NEIGHBORS)
            limits = np.maximum(limits, largest - 2 * margin[rows])
        positions, columns = scores.positions_at_least(rows, _round_down(limits))
        rows += block.start
        self._merge(rows, positions, columns, exact_scores(self._images[rows], chunk, positions, columns))

    def _merge(
        self,
        rows: NDArray[np.intp],
        positions: NDArray[np.intp],
        columns: NDArray[np.intp],
        scores: NDArray[np.float32],
    ) -> None:
        """Merge candidates into the neighbors of some rows. `positions` ascend, and `columns` ascend in each row."""
        counts = np.bincount(positions, minlength=len(rows))
        places = NEIGHBORS + np.arange(len(positions)) - np.repeat(np.cumsum(counts) - counts, counts)
        shape = (len(rows), NEIGHBORS + counts.max())
        all_scores = np.full(shape, -np.inf, dtype=np.float32)
        candidates = np.zeros(shape, dtype=np.int64)
        all_scores[:, :NEIGHBORS], candidates[:, :NEIGHBORS] = self._scores[rows], self.neighbors[rows]
        all_scores[positions, places], candidates[positions, places] = scores, columns + self.num_train
        order = np.argsort(-all_scores, axis=1, kind="stable")[:, :NEIGHBORS]
        self._scores[rows] = np.take_along_axis(all_scores, order, axis=1)
        self.neighbors[rows] = np.take_along_axis(candidates, order, axis=1)


def exact_scores(
    left: Embeddings, right: Embeddings, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Return the exact scores of pairs: row `rows[i]` of `left` with row `columns[i]` of `right`."""
    if len(rows) * DENSE > len(left) * len(right):
        return similarities(left, right)[rows, columns]
    scores = np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(rows), PAIRS):
        part = slice(start, start + PAIRS)
        scores[part] = np.einsum("ij,ij->i", left[rows[part]], right[columns[part]], dtype=np.float64)
    return scores


def similarities(left: NDArray[np.floating], right: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the cosine similarities of unit vectors, (n, m), as float64 products rounded to float32."""
    return (left.astype(np.float64, copy=False) @ right.astype(np.float64, copy=False).T).astype(np.float32)


def _round_down(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return, for each value, a lower float32 value that is at most two steps of float32 away."""
    return np.nextafter(values.astype(np.float32), np.float32(-np.inf))

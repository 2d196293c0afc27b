"""Blocks of float32 scores, computed with numpy, or with torch on a GPU (torch_score_blocks.py).

The scores have rounding errors of up to `rounding_error`. They are exact enough to exclude pairs, but not to sort them.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.evidence.encoder import Embeddings

BLOCK = 8192  # images per block: 16 MB of scores for a chunk of 512 training images
ROUNDING = 2.0**-24  # maximum relative error of one float32 operation
SLACK = 4  # further rounding operations: of the exact score to float32, and in float64 computations


class Scores(Protocol):
    """Scores of k images and m training images. They are valid until the next block is computed."""

    def rows_at_least(self, limits: NDArray[np.float32]) -> NDArray[np.intp]:
        """Return the rows in which any score reaches the limit of the row; `limits` is (k,)."""
        ...

    def kth_largest(self, rows: NDArray[np.intp], k: int) -> NDArray[np.float32]:
        """Return the k-th largest score of each row in `rows`, (len(rows),)."""
        ...

    def positions_at_least(
        self, rows: NDArray[np.intp], limits: NDArray[np.float32]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the scores that reach the limit of their row, as positions in `rows` and columns, row by row."""
        ...


class ScoreBlocks(Protocol):
    """Computes the scores of all images with chunks of training images, in blocks of images."""

    def multiply(self, chunk: Embeddings) -> Iterator[tuple[slice, Scores]]:
        """Yield the rows of each block of images and its scores."""
        ...


class NumpyScoreBlocks:
    """Computes scores with numpy."""

    def __init__(self, images: Embeddings) -> None:
        self._images = images

    def multiply(self, chunk: Embeddings) -> Iterator[tuple[slice, Scores]]:
        """Yield the rows of each block of images and its scores."""
        for start in range(0, len(self._images), BLOCK):
            rows = slice(start, min(start + BLOCK, len(self._images)))
            yield rows, _NumpyScores(self._images[rows] @ chunk.T)


class _NumpyScores:
    def __init__(self, scores: NDArray[np.float32]) -> None:
        self._scores = scores

    def rows_at_least(self, limits: NDArray[np.float32]) -> NDArray[np.intp]:
        return np.flatnonzero(self._scores.max(axis=1) >= limits)

    def kth_largest(self, rows: NDArray[np.intp], k: int) -> NDArray[np.float32]:
        place = self._scores.shape[1] - k
        return np.asarray(np.partition(self._scores[rows], place, axis=1)[:, place])

    def positions_at_least(
        self, rows: NDArray[np.intp], limits: NDArray[np.float32]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        positions, columns = np.nonzero(self._scores[rows] >= limits[:, None])
        return positions, columns


def new_score_blocks(images: Embeddings) -> ScoreBlocks:
    """Return the implementation for this machine: torch if it can use a GPU, else numpy."""
    if find_spec("torch") is not None:
        from service.evidence.torch_score_blocks import TorchScoreBlocks, has_gpu

        if has_gpu():
            return TorchScoreBlocks(images, "cuda")
    return NumpyScoreBlocks(images)


def rounding_error(dimensions: int) -> float:
    """Return the maximum difference between a score and the exact score, for vectors of norm 1.

    A sum of d products in any order has a relative error of at most γ(d) = d u / (1 - d u) with respect to the sum of
    the absolute products (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). By Cauchy-Schwarz, that
    sum is at most the product of the norms.
    """
    steps = (dimensions + SLACK) * ROUNDING
    return steps / (1 - steps)

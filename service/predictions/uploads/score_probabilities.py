"""The probabilities of predictions, from scores: the scores themselves, or the softmax of logits."""

import numpy as np
from numpy.typing import NDArray

LOGITS = "The scores are logits, so the probabilities are their softmax."
NO_PROBABILITIES = "The scores are neither probabilities nor logits, so Errata derives no probabilities from them."
TOLERANCE = 1e-2  # tolerance of the sum of the probabilities of an image


class ScoreProbabilities:
    """Collects the probabilities of the predicted classes from blocks of scores.

    There are probabilities only if all rows are probability distributions, or if all are logits. Scores count as logits
    if they are known to be, or if some are negative and no row is a distribution. Other scores, such as those of a
    sigmoid, give no probabilities.
    """

    def __init__(self, is_logits: bool) -> None:
        self._is_logits = is_logits
        self._has_negative = False
        self._num_rows = 0
        self._num_distributions = 0  # rows that are distributions
        self._scores: list[NDArray[np.float32]] = []
        self._softmax: list[NDArray[np.float32]] = []

    def add(self, block: NDArray[np.floating], classes: NDArray[np.integer]) -> None:
        """Add a block of (n, C) scores, with the predicted class of each row."""
        scores = scores_of(block, classes)
        has_negative = (block < 0).any(axis=1)
        is_distribution = ~has_negative & np.isclose(block.sum(axis=1), 1, atol=TOLERANCE)
        self._has_negative |= bool(has_negative.any())
        self._num_rows += len(block)
        self._num_distributions += int(is_distribution.sum())
        self._scores.append(scores)
        if self._is_logits or not self._num_distributions:  # otherwise, `finish` does not use the softmax
            self._softmax.append(_softmax(block, scores))

    def finish(self) -> tuple[NDArray[np.float32] | None, tuple[str, ...]]:
        """Return the probability of each prediction, (N,) or None if unavailable, and the assumptions made."""
        if not self._num_rows:
            return None, ()
        if not self._is_logits and self._num_distributions == self._num_rows:
            return np.minimum(np.concatenate(self._scores).astype(np.float32), 1), ()
        if self._is_logits or (self._has_negative and not self._num_distributions):
            probability = np.concatenate(self._softmax).astype(np.float32)
            if np.isfinite(probability).all():
                return probability, (LOGITS,)
        return None, (NO_PROBABILITIES,)


def scores_of(block: NDArray[np.floating], classes: NDArray[np.integer]) -> NDArray[np.floating]:
    """Return the score of one class in each row, (n,). An index out of range stands for the nearest valid one."""
    return np.take_along_axis(block, np.clip(classes, 0, block.shape[1] - 1)[:, None], axis=1)[:, 0]


def _softmax(block: NDArray[np.floating], scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the softmax probability of one score in each row of a block."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        best = block.max(axis=1)
        return np.asarray(np.exp(scores - best) / np.exp(block - best[:, None]).sum(axis=1))

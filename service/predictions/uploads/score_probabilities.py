"""The probabilities of predictions from their scores: the scores themselves, or the softmax of logits."""

import numpy as np
from numpy.typing import NDArray

LOGITS = "The scores are logits, so the probabilities are their softmax."
NO_PROBABILITIES = "The scores are neither probabilities nor logits, so they are only compared."
TOLERANCE = 1e-2  # of the sum of the probabilities of an image


class ScoreProbabilities:
    """Collects the probabilities of the predicted classes from blocks of scores.

    All rows are probability distributions, or all are logits. Scores without a negative value that are not
    distributions, such as those of a sigmoid, give no probabilities unless they are known to be logits.
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
        if self._is_logits or not self._num_distributions:  # otherwise the softmax is not used
            self._softmax.append(_softmax(block, scores))

    def finish(self) -> tuple[NDArray[np.float32] | None, tuple[str, ...]]:
        """Return the probability of each prediction, (N,), or None; and what was assumed."""
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
    """Return the score of one class for each row of scores, (n,); of the nearest class if it is out of range."""
    return np.take_along_axis(block, np.clip(classes, 0, block.shape[1] - 1)[:, None], axis=1)[:, 0]


def _softmax(block: NDArray[np.floating], scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the softmax of one score of each row of a block."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        best = block.max(axis=1)
        return np.asarray(np.exp(scores - best) / np.exp(block - best[:, None]).sum(axis=1))

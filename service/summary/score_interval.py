"""Score intervals: of a proportion, and of the difference of two paired proportions."""

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
ONE_SIDED_95 = 0.90  # each limit of a 90 % interval is a one-sided 95 % limit
_BISECTIONS = 60  # more than the 52 bits of a fraction


def proportion_interval(count: int, total: int) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion.

    Args:
        count: Number of successes.
        total: Number of trials, at least 1.

    Returns:
        The lower and the upper limit, fractions of 1.

    Source:
        Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    squared = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) ** 2
    center = (count + squared / 2) / (total + squared)
    half_width = (squared * (count * (total - count) / total + squared / 4)) ** 0.5 / (total + squared)
    return max(0.0, center - half_width), min(1.0, center + half_width)


def score_intervals(
    num_samples: ArrayLike, only_a: ArrayLike, only_b: ArrayLike, confidence: float = CONFIDENCE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return score intervals of the change of a rate, B - A: the differences that the score test does not reject.

    Unlike a bootstrap interval, a score interval never has the width 0. Its limits are between -1 and 1.

    Args:
        num_samples: (R,) numbers of paired samples, at least 1.
        only_a: (R,) samples with the property in A only.
        only_b: (R,) samples with the property in B only.
        confidence: Two-sided confidence level.

    Returns:
        (R,) lower limits and (R,) upper limits, fractions of 1.

    Source:
        Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
        design", Statistics in Medicine 17 (1998).
    """
    samples, first, second = (np.asarray(counts, dtype=np.float64) for counts in (num_samples, only_a, only_b))
    quantile = NormalDist().inv_cdf((1 + confidence) / 2)
    return -_upper_limits(samples, second, first, quantile), _upper_limits(samples, first, second, quantile)


def _upper_limits(
    samples: NDArray[np.float64], only_a: NDArray[np.float64], only_b: NDArray[np.float64], quantile: float
) -> NDArray[np.float64]:
    """Return the largest differences that the score test does not reject, by bisection above the estimates."""
    low, high = (only_b - only_a) / samples, np.ones_like(samples)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        is_inside = (only_b - only_a - samples * middle) ** 2 <= quantile**2 * _variance(
            samples, only_a, only_b, middle
        )
        low, high = np.where(is_inside, middle, low), np.where(is_inside, high, middle)
    return high


def _variance(
    samples: NDArray[np.float64],
    only_a: NDArray[np.float64],
    only_b: NDArray[np.float64],
    difference: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the maximum-likelihood estimate of the variance of only_b - only_a, given the true difference."""
    linear = (2 * samples - only_b + only_a) * difference - only_a - only_b
    constant = -only_a * difference * (1 - difference)
    share_only_a = (np.sqrt(linear**2 - 8 * samples * constant) - linear) / (4 * samples)
    return samples * (2 * share_only_a + difference * (1 - difference))

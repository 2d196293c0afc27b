"""Percentile intervals of a paired bootstrap."""

import math

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
DRAWS = 2000
SEED = 0


def resampled_cells(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return bootstrap draws of the cells of a table, shape (DRAWS, cells).

    Resampling n images and counting them is one draw from a multinomial with the observed shares.
    """
    total = int(counts.sum())
    return np.random.default_rng(SEED).multinomial(total, counts.ravel() / max(1, total), size=DRAWS)


def percentiles(
    differences: NDArray[np.float64], confidence: float = CONFIDENCE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lower and upper limits of the two-sided intervals of an array (draws, …), along its first axis."""
    tail = 50 * (1 - confidence)  # percent
    low, high = np.percentile(differences, (tail, 100 - tail), axis=0)
    return low, high


def resampled_class_means(
    samples: NDArray[np.int64], only_a: NDArray[np.int64], only_b: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    """Return bootstrap draws of the mean over classes of (share only in A - share only in B), shape (DRAWS,).

    Images are resampled within their class. All classes of one size have the same weights, so one number is drawn for
    all of them from the exact distribution of the sum of their differences. Resampling n images underestimates the
    variance of their mean by (n - 1) / n, so deviations are scaled by sqrt(n / (n - 1)). A class with one image gets
    the pooled variance of the other classes (docs/adr/0055).

    Args:
        samples: (C,) samples of each class.
        only_a: (C,) samples with the property in A only.
        only_b: (C,) samples with the property in B only.

    Returns:
        The draws; None if no class has two images, or if all draws of an observed change are equal.
    """
    is_single = samples == 1
    if is_single.all():
        return None
    generator = np.random.default_rng(SEED)
    differences = np.full(DRAWS, ((only_a - only_b) / samples).sum())
    changed = samples[~is_single & ((only_a > 0) | (only_b > 0))]
    for size in np.unique(changed).tolist():
        of_size = samples == size
        pairs, times = np.unique(np.stack([only_a[of_size], only_b[of_size]], axis=1), axis=0, return_counts=True)
        offset, cumulative = difference_distribution(size, pairs, times)
        drawn = offset + np.searchsorted(cumulative, generator.random(DRAWS), "right")
        differences += (drawn - times @ (pairs[:, 0] - pairs[:, 1])) / math.sqrt(size * (size - 1))
    if is_single.any():
        variance = _pooled_variance(samples[~is_single], only_a[~is_single], only_b[~is_single])
        differences += generator.normal(0, math.sqrt(variance * is_single.sum()), DRAWS)
    if np.ptp(differences) == 0 and (only_a + only_b).any():
        return None  # the interval would have the width 0
    return differences / len(samples)


def _pooled_variance(samples: NDArray[np.int64], only_a: NDArray[np.int64], only_b: NDArray[np.int64]) -> float:
    """Return the within-class variance of one image's difference, pooled over classes with at least two images."""
    squares = only_a + only_b - (only_a - only_b) ** 2 / samples  # sum of squared deviations of each class
    return float(squares.sum() / (samples - 1).sum())


def difference_distribution(
    size: int, pairs: NDArray[np.int64], times: NDArray[np.int64]
) -> tuple[int, NDArray[np.float64]]:
    """Return the distribution of the sum over classes of (only in A - only in B) if each class is resampled.

    The characteristic function of a sum is the product of those of its terms. It is evaluated on a grid of 12 standard
    deviations on either side of the mean. At double precision, the probability outside of the grid is 0.

    Args:
        size: Number of images of each class.
        pairs: (K, 2) number of images of a class with the property in A only, and in B only.
        times: (K,) number of classes with each pair of counts.

    Returns:
        The smallest difference, and the cumulative probabilities from that difference upward.
    """
    first, second = pairs.T / size
    mean = size * float(times @ (first - second))
    variance = size * float(times @ (first + second - (first - second) ** 2))
    points = 1 << math.ceil(math.log2(2 * (12 * math.sqrt(variance) + 20)))
    roots = np.exp(2j * np.pi * np.arange(points // 2 + 1) / points)  # roots of unity
    product = np.ones(len(roots), dtype=np.complex128)
    for share_a, share_b, count in zip(first.tolist(), second.tolist(), times.tolist(), strict=True):
        product *= (1 - share_a - share_b + share_a * roots + share_b * roots.conj()) ** (size * count)
    offset = round(mean) - points // 2
    probabilities = np.roll(np.fft.irfft(product.conj(), points), -offset % points).clip(min=0)
    cumulative = np.cumsum(probabilities)
    return offset, cumulative / cumulative[-1]

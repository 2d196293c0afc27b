"""Significance of paired differences: McNemar's exact test, and percentile intervals from a paired bootstrap."""

import math

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.05
DRAWS = 2000
SEED = 0
_TAILS = (100 * ALPHA / 2, 100 - 100 * ALPHA / 2)  # percent


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value of McNemar's exact test of two discordant counts, 1 where there are none.

    min(1, 2 P(Binomial(only_a + only_b, 1/2) <= the smaller)): spec/statistics.
    """
    trials, fewer = only_a + only_b, min(only_a, only_b)
    if not trials:
        return 1.0
    steps = np.arange(fewer)
    logs = np.concatenate([[0.0], np.cumsum(np.log(trials - steps) - np.log(steps + 1))])  # of binomial coefficients
    largest = logs.max()
    tail = np.log(np.exp(logs - largest).sum()) + largest - trials * np.log(2)
    return float(min(1.0, 2 * np.exp(tail)))


def resampled_cells(counts: NDArray[np.int64], draws: int = DRAWS) -> NDArray[np.int64]:
    """Return bootstrap draws of a table's cells, shape (draws, cells).

    Drawing n images anew and counting them is one draw of a multinomial with the observed shares.
    """
    total = int(counts.sum())
    return np.random.default_rng(SEED).multinomial(total, counts.ravel() / max(1, total), size=draws)


def percentiles(differences: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of the 95 % interval along the first axis, (draws, …)."""
    low, high = np.percentile(differences, _TAILS, axis=0)
    return low, high


def resampled_class_means(
    samples: NDArray[np.int64], only_a: NDArray[np.int64], only_b: NDArray[np.int64], draws: int = DRAWS
) -> NDArray[np.float64]:
    """Return bootstrap draws of the mean over classes of (share A alone - share B alone), (draws,); arguments (C,).

    Images are drawn within their class. Classes of one size weigh their images alike, so that one number is drawn for
    all of them: from the exact distribution of the sum of their differences.
    """
    differences = np.zeros(draws)
    if not len(samples):
        return differences
    generator = np.random.default_rng(SEED)
    changed = samples[(only_a > 0) | (only_b > 0)]
    for size in np.unique(changed).tolist():
        same = samples == size
        pairs, times = np.unique(np.stack([only_a[same], only_b[same]], axis=1), axis=0, return_counts=True)
        offset, cumulative = difference_distribution(size, pairs, times)
        differences += (offset + np.searchsorted(cumulative, generator.random(draws), "right")) / size
    return differences / len(samples)


def share_intervals(
    samples: NDArray[np.int64], only_a: NDArray[np.int64], only_b: NDArray[np.int64], draws: int = DRAWS
) -> NDArray[np.float64]:
    """Return 95 % intervals of the share A alone - share B alone, row by row, (R, 2); arguments (R,).

    Each row is drawn by itself, all of them with the same random numbers; rows with the same counts share an interval.
    """
    keys = np.stack([samples, only_a, only_b], axis=1)
    distinct, place = np.unique(keys, axis=0, return_inverse=True)
    random = np.sort(np.random.default_rng(SEED).random(draws))
    drawn, once = np.zeros((len(distinct), draws)), np.ones(1, dtype=np.int64)
    for row, (size, *pair) in enumerate(distinct.tolist()):
        if size and any(pair):
            offset, cumulative = difference_distribution(size, np.array([pair]), once)
            drawn[row] = (offset + np.searchsorted(cumulative, random, "right")) / size
    return np.stack(percentiles(drawn.T), axis=1)[place.reshape(-1)]


def difference_distribution(
    size: int, pairs: NDArray[np.int64], times: NDArray[np.int64]
) -> tuple[int, NDArray[np.float64]]:
    """Return the distribution of (A alone - B alone) among `size` images drawn anew in each class, summed over them.

    pairs: (K, 2) how many images of a class are in A alone and in B alone; times: (K,) how many classes are so. Returns
    the least difference and the cumulative probabilities from there on. A sum's characteristic function is the product
    of its parts'; it is evaluated on a grid that is 12 standard deviations wide on either side, beyond which nothing is
    left at double precision.
    """
    first, second = pairs.T / size
    mean = size * float(times @ (first - second))
    variance = size * float(times @ (first + second - (first - second) ** 2))
    points = 1 << math.ceil(math.log2(2 * (12 * math.sqrt(variance) + 20)))
    turns = np.exp(2j * np.pi * np.arange(points // 2 + 1) / points)
    product = np.ones(len(turns), dtype=np.complex128)
    for one, other, count in zip(first.tolist(), second.tolist(), times.tolist(), strict=True):
        product *= (1 - one - other + one * turns + other * turns.conj()) ** (size * count)
    offset = round(mean) - points // 2
    probabilities = np.roll(np.fft.irfft(product.conj(), points), -offset % points).clip(min=0)
    cumulative = np.cumsum(probabilities)
    return offset, cumulative / cumulative[-1]

"""McNemar's exact test of paired counts: p-values, and the power of a test.

`only_a` and `only_b` are the discordant counts: the number of images with a property in A only, and in B only.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

ALPHA = 0.05
POWER = 0.8
_BISECTIONS = 60  # more than the 52 bits of a fraction


def mcnemar(only_a: ArrayLike, only_b: ArrayLike) -> NDArray[np.float64]:
    """Return the two-sided p-values of McNemar's exact test; 1 if both counts are 0.

    The p-value is min(1, 2 P(Binomial(only_a + only_b, 1/2) <= min(only_a, only_b))).

    Args:
        only_a: Counts of any shape.
        only_b: Counts of the same shape.

    Returns:
        P-values of the same shape.

    Source:
        McNemar, "Note on the sampling error of the difference between correlated proportions", Psychometrika 12 (1947).
    """
    first, second = np.asarray(only_a), np.asarray(only_b)
    p_values: NDArray[np.float64] = np.minimum(1.0, 2 * _binomial_cdf(np.minimum(first, second), first + second, 0.5))
    return p_values


def detectable_change(num_samples: int, only_a: int, only_b: int, alpha: float = ALPHA) -> float | None:
    """Return the smallest change of a rate that McNemar's exact test finds with 80 % power.

    The number of discordant images is the observed number. A search finds how probable it must be that a discordant
    image favors one model, so that the test has this power. The result is the expected net change as a share of all
    samples.

    Args:
        num_samples: Number of paired samples.
        only_a: Number of samples with the property in A only.
        only_b: Number of samples with the property in B only.
        alpha: Significance level of the test.

    Returns:
        The absolute change, a fraction of 1; None if no split of the discordant images is significant, for
            example if there are no discordant images.
    """
    discordant = only_a + only_b
    smaller = np.arange(discordant // 2 + 1)
    rejected = int((mcnemar(smaller, discordant - smaller) < alpha).sum())  # smaller counts below this are significant
    if not rejected:
        return None
    low, high = 0.5, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        power = float(_binomial_cdf(rejected - 1, discordant, [middle, 1 - middle]).sum())
        low, high = (low, middle) if power >= POWER else (middle, high)
    return (2 * high - 1) * discordant / num_samples


def _binomial_cdf(successes: ArrayLike, trials: ArrayLike, probability: ArrayLike) -> NDArray[np.float64]:
    """Return the probability of at most some number of successes."""
    from scipy.special import bdtr  # the import takes 0.1 s, which each start of a service would wait for

    result: NDArray[np.float64] = bdtr(successes, trials, probability)
    return result

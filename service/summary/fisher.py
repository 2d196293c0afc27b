"""Fisher's exact test of two shares."""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_TIE = 1e-7  # relative difference of probabilities that rounding can cause; R's fisher.test uses the same


def fisher_exact(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Return the two-sided p-value of Fisher's exact test of two shares.

    The p-value is the total probability of all tables with the same margins that are at most as probable as the
    observed table.

    Args:
        first: Number of samples with a property, and number of samples, in the first set.
        second: Number of samples with the property, and number of samples, in the second set.

    Source:
        Fisher, "The logic of inductive inference", Journal of the Royal Statistical Society 98 (1935).
    """
    (hits, size), (other_hits, other_size) = first, second
    total, total_hits = size + other_size, hits + other_hits
    logs = _log_factorials(1 << max(0, total).bit_length())
    count = np.arange(max(0, total_hits - other_size), min(total_hits, size) + 1)
    rest = total_hits - count
    log = -logs[count] - logs[size - count] - logs[rest] - logs[other_size - rest]
    log += logs[size] + logs[other_size] + logs[total_hits] + logs[total - total_hits] - logs[total]
    observed = log[hits - int(count[0])]
    return float(min(1.0, np.exp(log[log <= observed + _TIE]).sum()))


@lru_cache(maxsize=4)
def _log_factorials(size: int) -> NDArray[np.float64]:
    """Return the logarithms of the factorials of 0 to `size`."""
    return np.array([math.lgamma(number + 1) for number in range(size + 1)])

"""Adjustment of p-values for the number of tests in a table."""

import numpy as np
from numpy.typing import NDArray

from service.domain import AdjustedTest


def adjust_p_values(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the p-values of a table of tests, adjusted for the false discovery rate (Benjamini and Hochberg).

    Rejecting the tests with an adjusted p-value of at most q limits the expected share of false rejections to q.

    Args:
        p_values: (R,) p-values of one table.

    Returns:
        (R,) adjusted p-values.

    Source:
        Benjamini and Hochberg, "Controlling the false discovery rate", Journal of the Royal Statistical Society B 57
        (1995). `scipy.stats` has the same function, but takes half a second longer to import than `scipy.special`.
    """
    order = np.argsort(p_values)[::-1]
    ranks = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum.accumulate(p_values[order] * len(p_values) / ranks)
    return adjusted


def adjusted_tests(p_values: NDArray[np.float64]) -> list[AdjustedTest]:
    """Return the tests of one table, (R,), from their p-values."""
    return [AdjustedTest(*values) for values in zip(p_values.tolist(), adjust_p_values(p_values).tolist(), strict=True)]

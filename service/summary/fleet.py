"""Evaluate many models on one bundle with arrays: one table lookup and one histogram per model."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.domain import NUM_IDS, Bytes, Classes, Strata
from service.rules.table import TYPE_BITS


@dataclass(frozen=True)
class FleetTally:
    """Verdict counts of K models. Index 0 of axis 1 is all samples, the others are groups; axis 2 is type IDs."""

    counts: NDArray[np.int64]  # (K, G + 1, NUM_IDS) number of samples
    class_shares: NDArray[np.float64]  # (K, G + 1, NUM_IDS) mean over target classes of a type's share


def tally_fleet(table: Bytes, top1: Classes, strata: Strata) -> FleetTally:
    """Count the verdicts of K models.

    Args:
        table: (N, C) verdict table.
        top1: (K, N) predicted classes of the evaluated samples.
        strata: Strata of the N samples.
    """
    flat = table.reshape(-1)
    rows = np.arange(len(table), dtype=np.intp) * table.shape[1]
    base = strata.sample_strata * NUM_IDS
    num_strata = len(strata.problematic)
    result = np.empty((len(top1), *strata.weights.shape[:2], NUM_IDS))
    keys, types = np.empty_like(rows), np.empty(len(rows), dtype=np.uint8)
    for model, predicted in enumerate(top1):
        np.add(rows, predicted, out=keys)
        np.take(flat, keys, out=types, mode="clip")  # "clip" avoids a buffer; every key is in range
        types &= TYPE_BITS
        np.add(base, types, out=keys)
        counts = np.bincount(keys, minlength=num_strata * NUM_IDS).reshape(num_strata, NUM_IDS)
        result[model] = np.tensordot(strata.weights, counts, axes=1)
    return FleetTally(result[:, 0].astype(np.int64), result[:, 1])

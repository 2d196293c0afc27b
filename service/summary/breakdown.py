"""Breakdown: the verdicts by target class, and by superclass of the target."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.domain import ERROR_TYPES, NUM_CLASSES, TOP1_ERROR_TYPES, BreakdownRow, Bytes, Classes, ErrorType, Mask
from service.summary.summarize import CORRECT_TYPES, NUM_TYPES, gains


def types_by_class(types: Bytes, targets: Classes, counted: Mask) -> NDArray[np.int64]:
    """Return how many counted samples of each target class got each type, (C, 9); type 0 is 0; all arguments (N,)."""
    keys = targets[counted].astype(np.int64) * NUM_TYPES + types[counted]
    table = np.bincount(keys, minlength=NUM_CLASSES * NUM_TYPES).reshape(NUM_CLASSES, NUM_TYPES)
    table[:, ErrorType.UNSPECIFIED] = 0
    return table


def by_class(table: NDArray[np.int64], names: Sequence[str]) -> list[BreakdownRow]:
    """Return a row for each class that has samples, in ascending order, from the table of types_by_class."""
    present = np.flatnonzero(table.sum(axis=1))
    return [_row(names[index], index, table, np.array([index])) for index in present.tolist()]


def by_superclass(table: NDArray[np.int64], ids: Sequence[str], members: Mask) -> list[BreakdownRow]:
    """Return a row for each superclass, in their order; members (S, C)."""
    return [_row(name, None, table, np.flatnonzero(row)) for name, row in zip(ids, members, strict=True)]


def _row(name: str, index: int | None, table: NDArray[np.int64], classes: NDArray[np.intp]) -> BreakdownRow:
    samples = table.sum(axis=1)
    total, num_classes = int(samples.sum()), int(np.count_nonzero(samples))
    own = table[classes[samples[classes] > 0]]
    counts = own.sum(axis=0)
    shares = (own / own.sum(axis=1, keepdims=True)).sum(axis=0)  # (9,) one a class
    return BreakdownRow(
        name=name,
        class_index=index,
        num_samples=int(counts.sum()),
        counts={each: int(counts[each]) for each in ERROR_TYPES},
        multi_label_accuracy=float(shares[list(CORRECT_TYPES)].sum() / len(own)) if len(own) else None,
        gain_if_fixed_top1={each: int(counts[each]) / total if total else 0.0 for each in TOP1_ERROR_TYPES},
        gain_if_fixed_multi_label=gains(shares / max(1, num_classes)),
    )

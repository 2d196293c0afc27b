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
    present = np.flatnonzero(table.sum(axis=1)).tolist()
    return _rows([names[index] for index in present], present, table, np.eye(NUM_CLASSES, dtype=bool)[present])


def by_superclass(table: NDArray[np.int64], ids: Sequence[str], members: Mask) -> list[BreakdownRow]:
    """Return a row for each superclass, in their order; members (S, C)."""
    return _rows(ids, [None] * len(ids), table, members)


def _rows(
    names: Sequence[str], indices: Sequence[int | None], table: NDArray[np.int64], members: Mask
) -> list[BreakdownRow]:
    """Return a row for each set of classes; members (R, C)."""
    samples = table.sum(axis=1)
    total, num_classes = int(samples.sum()), int(np.count_nonzero(samples))
    shares = table / np.maximum(samples, 1)[:, None]  # (C, 9) of each class' samples
    sets = members.astype(np.float64)
    counts_of = (sets @ table).astype(np.int64).tolist()  # (R, 9), below 2^53
    shares_of = sets @ shares  # (R, 9)
    present_of = (sets @ (samples > 0)).tolist()  # (R,) classes that have samples
    correct_of = shares_of[:, list(CORRECT_TYPES)].sum(axis=1).tolist()
    return [
        BreakdownRow(
            name=name,
            class_index=index,
            num_samples=sum(counts),
            counts={error_type_: counts[error_type_] for error_type_ in ERROR_TYPES},
            multi_label_accuracy=correct / present if present else None,
            gain_if_fixed_top1={
                error_type: counts[error_type] / total if total else 0.0 for error_type in TOP1_ERROR_TYPES
            },
            gain_if_fixed_multi_label=gains(gained),
        )
        for name, index, counts, correct, present, gained in zip(
            names, indices, counts_of, correct_of, present_of, shares_of / max(1, num_classes), strict=True
        )
    ]

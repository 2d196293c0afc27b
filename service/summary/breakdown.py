"""Breakdown of verdicts by the class of the effective target, and by its superclasses."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.domain import (
    CORRECT_TYPES,
    ERROR_TYPES,
    NO_TYPE,
    NUM_CLASSES,
    NUM_IDS,
    TOP1_ERROR_TYPES,
    BreakdownRow,
    Bytes,
    Classes,
    Mask,
)
from service.summary.summarize import multi_label_gains


def types_by_class(types: Bytes, targets: Classes, counted: Mask) -> NDArray[np.int64]:
    """Count the verdicts of each type for each target class.

    Args:
        types: (N,) ID of the error type of each sample.
        targets: (N,) effective targets.
        counted: (N,) samples to count.

    Returns:
        (C, NUM_IDS) counts; column 0 is 0.
    """
    keys = targets[counted].astype(np.int64) * NUM_IDS + types[counted]
    table = np.bincount(keys, minlength=NUM_CLASSES * NUM_IDS).reshape(NUM_CLASSES, NUM_IDS)
    table[:, NO_TYPE] = 0
    return table


def by_class(table: NDArray[np.int64], names: Sequence[str], has_rejected_targets: bool = False) -> list[BreakdownRow]:
    """Return one row per class with samples, in ascending order.

    Args:
        table: (C, NUM_IDS) result of `types_by_class`.
        names: (C,) class names.
        has_rejected_targets: Whether labels reject targets, so that there are no gains in top-1 accuracy.
    """
    present = np.flatnonzero(table.sum(axis=1)).tolist()
    members = np.eye(NUM_CLASSES, dtype=bool)[present]
    return _rows([names[index] for index in present], present, table, members, has_rejected_targets)


def by_superclass(
    table: NDArray[np.int64], ids: Sequence[str], members: Mask, has_rejected_targets: bool = False
) -> list[BreakdownRow]:
    """Return one row per superclass, in the given order.

    Args:
        table: (C, NUM_IDS) result of `types_by_class`.
        ids: (S,) superclass ids.
        members: (S, C) classes of each superclass.
        has_rejected_targets: As in `by_class`.
    """
    return _rows(ids, [None] * len(ids), table, members, has_rejected_targets)


def _rows(
    names: Sequence[str],
    indices: Sequence[int | None],
    table: NDArray[np.int64],
    members: Mask,
    has_rejected_targets: bool,
) -> list[BreakdownRow]:
    """Return one row per set of classes; members (R, C)."""
    samples = table.sum(axis=1)
    total, num_classes = int(samples.sum()), int(np.count_nonzero(samples))
    class_shares = table / np.maximum(samples, 1)[:, None]  # (C, NUM_IDS) shares among the samples of a class
    sets = members.astype(np.float64)
    row_counts = (sets @ table).astype(np.int64).tolist()  # (R, NUM_IDS), exact below 2^53
    row_shares = sets @ class_shares  # (R, NUM_IDS)
    row_classes = (sets @ (samples > 0)).tolist()  # (R,) number of classes with samples
    row_correct = row_shares[:, [error_type.id for error_type in CORRECT_TYPES]].sum(axis=1).tolist()
    return [
        BreakdownRow(
            name=name,
            class_index=index,
            num_samples=sum(counts),
            counts={error_type: counts[error_type.id] for error_type in ERROR_TYPES},
            multi_label_accuracy=correct / classes if classes else None,
            gain_if_fixed_top1={}
            if has_rejected_targets
            else {error_type: counts[error_type.id] / total if total else 0.0 for error_type in TOP1_ERROR_TYPES},
            gain_if_fixed_multi_label=multi_label_gains(shares),
        )
        for name, index, counts, correct, classes, shares in zip(
            names, indices, row_counts, row_correct, row_classes, row_shares / max(1, num_classes), strict=True
        )
    ]

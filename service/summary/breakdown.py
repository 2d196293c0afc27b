"""Breakdown of verdicts by the class of the effective target, and by its superclasses."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.domain import (
    CORRECT_TYPES,
    ERROR_TYPES,
    NO_TYPE,
    NUM_IDS,
    TOP1_ERROR_TYPES,
    BreakdownRow,
    Bytes,
    Classes,
    ErrorType,
    Mask,
    Superclasses,
    is_among,
)


def types_by_class(types: Bytes, targets: Classes, counted: Mask, num_classes: int) -> NDArray[np.int64]:
    """Count the verdicts of each type for each target class.

    Args:
        types: (N,) ID of the error type of each sample.
        targets: (N,) effective targets.
        counted: (N,) samples to count.
        num_classes: Number of classes C.

    Returns:
        (C, NUM_IDS) counts; column 0 is 0.
    """
    keys = targets[counted].astype(np.int64) * NUM_IDS + types[counted]
    table = np.bincount(keys, minlength=num_classes * NUM_IDS).reshape(num_classes, NUM_IDS)
    table[:, NO_TYPE] = 0
    return table


def by_class(table: NDArray[np.int64], names: Sequence[str], has_rejected_targets: bool = False) -> list[BreakdownRow]:
    """Return one row for each class that has samples, by ascending class index.

    Args:
        table: (C, NUM_IDS) result of `types_by_class`.
        names: (C,) class names.
        has_rejected_targets: Whether labels reject targets. If so, the rows have no gains in top-1 accuracy.
    """
    present = np.flatnonzero(table.sum(axis=1))
    sums = _Sums(table[present], _class_shares(table)[present], np.ones(len(present)))
    return _rows([names[index] for index in present.tolist()], present.tolist(), table, sums, has_rejected_targets)


def by_superclass(
    table: NDArray[np.int64], superclasses: Superclasses, has_rejected_targets: bool = False
) -> list[BreakdownRow]:
    """Return one row per superclass, in order.

    Args:
        table: (C, NUM_IDS) result of `types_by_class`.
        superclasses: The superclasses of the C classes.
        has_rejected_targets: As in `by_class`.
    """
    has_samples = table.sum(axis=1, keepdims=True) > 0
    sums = _Sums(
        superclasses.totals(table).astype(np.int64),
        superclasses.totals(_class_shares(table)),
        superclasses.totals(has_samples)[:, 0],
    )
    return _rows(superclasses.ids, [None] * len(superclasses.ids), table, sums, has_rejected_targets)


@dataclass(frozen=True)
class _Sums:
    """Sums for R rows. Each row is a class or a superclass, and is summed over its classes."""

    counts: NDArray[np.int64]  # (R, NUM_IDS) samples by type
    shares: NDArray[np.float64]  # (R, NUM_IDS) shares of the types among the samples of a class
    classes: NDArray[np.float64]  # (R,) classes with samples


def _class_shares(table: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(table / np.maximum(table.sum(axis=1, keepdims=True), 1))


def _rows(
    names: Sequence[str],
    indices: Sequence[int | None],
    table: NDArray[np.int64],
    sums: _Sums,
    has_rejected_targets: bool,
) -> list[BreakdownRow]:
    """Return the R rows of a breakdown."""
    samples = table.sum(axis=1)
    total, num_classes = max(1, int(samples.sum())), max(1, int(np.count_nonzero(samples)))
    correct = sums.shares[:, _ids(CORRECT_TYPES)].sum(axis=1)
    multi_label_gains = sums.shares[:, _ids(TOP1_ERROR_TYPES)] / num_classes
    multi_label_gains[:, is_among(_ids(TOP1_ERROR_TYPES), CORRECT_TYPES)] = 0
    columns = (
        sums.counts.sum(axis=1),
        sums.counts[:, _ids(ERROR_TYPES)],
        sums.counts[:, _ids(TOP1_ERROR_TYPES)] / total,
        multi_label_gains,
        correct,
        sums.classes,
    )
    return [
        BreakdownRow(
            name=name,
            class_index=index,
            num_samples=size,
            counts=dict(zip(ERROR_TYPES, counts, strict=True)),
            multi_label_accuracy=row_correct / classes if classes else None,
            gain_if_fixed_top1={} if has_rejected_targets else dict(zip(TOP1_ERROR_TYPES, top1_gains, strict=True)),
            gain_if_fixed_multi_label=dict(zip(TOP1_ERROR_TYPES, gains, strict=True)),
        )
        for name, index, size, counts, top1_gains, gains, row_correct, classes in zip(
            names, indices, *(column.tolist() for column in columns), strict=True
        )
    ]


def _ids(types: Sequence[ErrorType]) -> Bytes:
    return np.array([error_type.id for error_type in types], dtype=np.uint8)

"""Comparison of two models on the same images: transitions, tests, and intervals (spec/statistics)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.domain import (
    CORRECT_TYPES,
    ERROR_TYPES,
    METRIC_TYPES,
    MULTI_LABEL_ERROR_TYPES,
    NO_TYPE,
    NUM_CLASSES,
    POSITIONS,
    TOP1_CORRECT_TYPES,
    Bytes,
    ChangeRow,
    Classes,
    ErrorType,
    Group,
    GroupComparison,
    Interval,
    Mask,
    PairedMetric,
    PairedTest,
    is_among,
)
from service.summary.significance import (
    ALPHA,
    mcnemar,
    percentiles,
    resampled_cells,
    resampled_class_means,
    share_intervals,
)
from service.summary.summarize import GROUPS

_SIZE = len(ERROR_TYPES)  # rows and columns of the transitions


@dataclass(frozen=True)
class Matches:
    """Whether the N predictions of one side match the labels."""

    is_target: Mask  # (N,) the prediction is the original label
    is_label: Mask  # (N,) the prediction is one of the labels


@dataclass(frozen=True)
class Pair:
    """Verdicts of A and B on N samples."""

    types_a: Bytes  # (N,) IDs
    types_b: Bytes  # (N,)
    targets: Classes  # (N,) effective targets
    counted: Mask  # (N,) evaluated in both, and not problematic
    num_left_out: int  # samples that are evaluated in only one of A and B, and not problematic
    matches_a: Matches
    matches_b: Matches

    @property
    def fixed(self) -> Mask:
        """Return the counted samples that are errors in A and correct in B, (N,)."""
        return self.counted & is_among(self.types_a, MULTI_LABEL_ERROR_TYPES) & is_among(self.types_b, CORRECT_TYPES)

    @property
    def broken(self) -> Mask:
        """Return the counted samples that are correct in A and errors in B, (N,)."""
        return self.counted & is_among(self.types_a, CORRECT_TYPES) & is_among(self.types_b, MULTI_LABEL_ERROR_TYPES)


def pair_verdicts(
    types_a: Bytes,
    types_b: Bytes,
    targets: Classes,
    problematic: Mask,
    matches: tuple[Matches, Matches] | None = None,
) -> Pair:
    """Pair the verdicts of A and B. All arguments have the shape (N,).

    Args:
        types_a: IDs of the types in A; 0: no prediction.
        types_b: IDs of the types in B; 0: no prediction.
        targets: Effective targets.
        problematic: Problematic samples.
        matches: Matches of A and B with the labels; None: their types say so, which is true for every verdict except
            class overlap if no target is rejected.
    """
    in_a, in_b = types_a != NO_TYPE, types_b != NO_TYPE
    left_out = int(((in_a ^ in_b) & ~problematic).sum())
    matches = matches or (matches_of_types(types_a), matches_of_types(types_b))
    return Pair(types_a, types_b, targets, in_a & in_b & ~problematic, left_out, *matches)


def matches_of_types(types: Bytes) -> Matches:
    """Return the matches that types (N,) imply if no target is rejected."""
    return Matches(is_among(types, TOP1_CORRECT_TYPES), is_among(types, (ErrorType.CORRECT, ErrorType.MULTI_LABEL)))


def compare_groups(pair: Pair, groups: Mask) -> dict[Group, GroupComparison]:
    """Return the changes in each group; groups (3, N) in the order of CLASS_GROUPS."""
    members = [pair.counted, *(pair.counted & row for row in groups)]
    return {group: _compare(pair, member) for group, member in zip(GROUPS, members, strict=True)}


def paired_test(
    metric: PairedMetric, transitions: NDArray[np.int64], top1: NDArray[np.int64] | None = None
) -> PairedTest:
    """Return McNemar's test of one metric from the transitions (T, T), or from the top-1 table (2, 2) if it differs."""
    only_a, only_b = _discordant(transitions, METRIC_TYPES[metric])
    if metric is PairedMetric.TOP1 and top1 is not None:
        only_a, only_b = int(top1[1, 0]), int(top1[0, 1])
    p_value = mcnemar(only_a, only_b)
    return PairedTest(metric, only_a, only_b, p_value, p_value < ALPHA)


def type_p_value(types: Sequence[ErrorType], transitions: NDArray[np.int64]) -> float:
    """Return McNemar's p-value for the property of having one of these types, from the transitions (T, T)."""
    only_a, only_b = _discordant(transitions, types)
    return mcnemar(only_a, only_b)


def changed_classes(pair: Pair, names: Sequence[str]) -> tuple[ChangeRow, ...]:
    """Return the classes with changes, the largest net change first."""
    table = _by_class(pair)
    changed = np.flatnonzero(table[:, 2:].sum(axis=1))
    return _rows([names[index] for index in changed.tolist()], changed.tolist(), table[changed])


def changed_superclasses(pair: Pair, ids: Sequence[str], members: Mask) -> tuple[ChangeRow, ...]:
    """Return the superclasses with changes, the largest net change first; members (S, C)."""
    table = members.astype(np.int64) @ _by_class(pair)
    changed = np.flatnonzero(table[:, 2:].sum(axis=1))
    return _rows([ids[index] for index in changed.tolist()], [None] * len(changed), table[changed])


def _compare(pair: Pair, member: Mask) -> GroupComparison:
    cells = POSITIONS[pair.types_a[member]] * _SIZE + POSITIONS[pair.types_b[member]]
    transitions = np.bincount(cells, minlength=_SIZE**2).reshape(_SIZE, _SIZE)
    num_samples = int(member.sum())
    labels = _cross_table(pair.matches_a.is_label[member], pair.matches_b.is_label[member])
    rates, types = _rate_intervals(transitions) if num_samples else ({}, {})
    top1 = None
    if num_samples and _has_rejected_targets(pair, member):
        top1 = _cross_table(pair.matches_a.is_target[member], pair.matches_b.is_target[member])
        rates[PairedMetric.TOP1] = _table_interval(top1)
    return GroupComparison(
        num_samples=num_samples,
        transitions=transitions,
        top1_table=top1,
        accuracy_against_labels=_table_interval(labels) if num_samples else None,
        tests={metric: paired_test(metric, transitions, top1) for metric in PairedMetric},
        rates=rates,
        multi_label_accuracy=_accuracy_interval(pair, member),
        types=types,
    )


def _has_rejected_targets(pair: Pair, member: Mask) -> bool:
    """Return whether types do not say which predictions are the original label."""
    return any(
        (matches.is_target != is_among(types, TOP1_CORRECT_TYPES))[member].any()
        for matches, types in ((pair.matches_a, pair.types_a), (pair.matches_b, pair.types_b))
    )


def _discordant(transitions: NDArray[np.int64], types: Sequence[ErrorType]) -> tuple[int, int]:
    """Count the samples with one of the types in A only, and in B only."""
    inside = _type_mask(types)
    return int(transitions[inside][:, ~inside].sum()), int(transitions[~inside][:, inside].sum())


def _type_mask(types: Sequence[ErrorType]) -> Mask:
    return np.array([error_type in types for error_type in ERROR_TYPES])


def _rate_intervals(
    transitions: NDArray[np.int64],
) -> tuple[dict[PairedMetric, Interval], dict[ErrorType, Interval]]:
    """Return the intervals of the metrics' rates and of the types' rates, from the same bootstrap draws."""
    num_samples = transitions.sum()
    sets = [*METRIC_TYPES.values(), *((error_type,) for error_type in ERROR_TYPES)]
    inside = np.stack([_type_mask(types) for types in sets]).astype(np.float64)  # (K, T)
    weights = (inside[:, None, :] - inside[:, :, None]).reshape(
        len(sets), -1
    )  # (K, T * T) contribution of a cell to B - A
    low, high = percentiles(resampled_cells(transitions) @ weights.T / num_samples)
    in_a, in_b = inside @ transitions.sum(axis=1) / num_samples, inside @ transitions.sum(axis=0) / num_samples
    intervals = [Interval(*map(float, values)) for values in zip(in_a, in_b, low, high, strict=True)]
    num_metrics = len(METRIC_TYPES)
    return (
        dict(zip(METRIC_TYPES, intervals[:num_metrics], strict=True)),
        dict(zip(ERROR_TYPES, intervals[num_metrics:], strict=True)),
    )


def _cross_table(in_a: Mask, in_b: Mask) -> NDArray[np.int64]:
    """Count samples by a property in A (rows) and in B (columns), (2, 2)."""
    table: NDArray[np.int64] = np.bincount(2 * in_a.astype(np.int64) + in_b, minlength=4).reshape(2, 2)
    return table


def _table_interval(table: NDArray[np.int64]) -> Interval:
    """Return the interval of the share of samples with a property from its cross table (2, 2)."""
    num_samples = table.sum()
    low, high = percentiles(resampled_cells(table) @ np.array([0, 1, -1, 0]) / num_samples)
    in_a, in_b = table[1].sum() / num_samples, table[:, 1].sum() / num_samples
    return Interval(float(in_a), float(in_b), float(low), float(high))


def _accuracy_interval(pair: Pair, member: Mask) -> Interval | None:
    """Return the interval of multi-label accuracy; None if no target class has two images."""
    correct_a, correct_b = is_among(pair.types_a, CORRECT_TYPES), is_among(pair.types_b, CORRECT_TYPES)
    only_a, only_b = correct_a & ~correct_b, correct_b & ~correct_a
    masks = (member, member & correct_a, member & correct_b, member & only_a, member & only_b)
    counts = np.stack([np.bincount(pair.targets[mask], minlength=NUM_CLASSES) for mask in masks])
    samples, num_a, num_b, num_only_a, num_only_b = counts[:, counts[0] > 0]
    drawn = resampled_class_means(samples, num_only_a, num_only_b)
    if drawn is None:
        return None
    low, high = np.clip(percentiles(-drawn), -1, 1)
    return Interval(float((num_a / samples).mean()), float((num_b / samples).mean()), float(low), float(high))


def _by_class(pair: Pair) -> NDArray[np.int64]:
    """Count the samples, errors in A, fixed samples, and broken samples of each target class, (C, 4)."""
    masks = (pair.counted, pair.counted & is_among(pair.types_a, MULTI_LABEL_ERROR_TYPES), pair.fixed, pair.broken)
    return np.stack([np.bincount(pair.targets[mask], minlength=NUM_CLASSES) for mask in masks], axis=1)


def _rows(names: Sequence[str], indices: Sequence[int | None], table: NDArray[np.int64]) -> tuple[ChangeRow, ...]:
    """Return one row per name; table (R, 4) with the columns of `_by_class`."""
    intervals = -share_intervals(table[:, 0], table[:, 2], table[:, 3])[:, ::-1]  # of B - A
    rows = [
        ChangeRow(
            name=name,
            class_index=index,
            num_samples=size,
            fixed=fixed,
            broken=broken,
            errors=Interval(errors_a / size, (errors_a - fixed + broken) / size, low, high),
        )
        for name, index, (size, errors_a, fixed, broken), (low, high) in zip(
            names, indices, table.tolist(), intervals.tolist(), strict=True
        )
    ]
    return tuple(sorted(rows, key=lambda row: (-abs(row.fixed - row.broken), -(row.fixed + row.broken), row.name)))

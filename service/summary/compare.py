"""Comparison of two models on the same images: transitions, tests, and intervals (spec/statistics)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from service.domain import (
    ALL,
    CORRECT_TYPES,
    ERROR_TYPES,
    METRIC_TYPES,
    MULTI_LABEL_ERROR_TYPES,
    NO_TYPE,
    POSITIONS,
    TOP1_CORRECT_TYPES,
    TOP1_ERROR_TYPES,
    AdjustedTest,
    Bytes,
    ChangeRow,
    Classes,
    ErrorType,
    GroupComparison,
    Interval,
    Mask,
    PairedMetric,
    PairedTest,
    Superclasses,
    TypeChange,
    cross_table,
    is_among,
)
from service.summary.mcnemar import ALPHA, mcnemar
from service.summary.multiple_tests import adjusted_tests
from service.summary.score_interval import ONE_SIDED_95, score_intervals
from service.summary.significance import CONFIDENCE, percentiles, resampled_cells, resampled_class_means

_SIZE = len(ERROR_TYPES)  # rows and columns of the transitions
_MIN_EFFECTIVE = 0.9  # share of the images below which class sizes are too unequal for the bootstrap alone


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
        matches: Matches of A and B with the labels. None: the matches are derived from the types, which is exact
            except for class overlaps, provided that no target is rejected.
    """
    in_a, in_b = types_a != NO_TYPE, types_b != NO_TYPE
    left_out = int(((in_a ^ in_b) & ~problematic).sum())
    matches = matches or (matches_of_types(types_a), matches_of_types(types_b))
    return Pair(types_a, types_b, targets, in_a & in_b & ~problematic, left_out, *matches)


def matches_of_types(types: Bytes) -> Matches:
    """Return the matches that types (N,) imply if no target is rejected."""
    return Matches(is_among(types, TOP1_CORRECT_TYPES), is_among(types, (ErrorType.CORRECT, ErrorType.MULTI_LABEL)))


def split_groups(pair: Pair, groups: Mapping[str, Mask]) -> dict[str, Pair]:
    """Return a pair that counts all samples, and for each group (a mask, (N,)) a pair that counts only its members."""
    parts = {group: replace(pair, counted=pair.counted & members) for group, members in groups.items()}
    return {ALL: pair} | parts


def compare_groups(pair: Pair, groups: Mapping[str, Mask]) -> dict[str, GroupComparison]:
    """Return the changes among all samples, and in each group. The members of a group are a mask, (N,)."""
    return {group: _compare(part) for group, part in split_groups(pair, groups).items()}


def paired_test(
    metric: PairedMetric, transitions: NDArray[np.int64], top1: NDArray[np.int64] | None = None
) -> PairedTest:
    """Return McNemar's test of a metric from the transitions (T, T). Top-1 accuracy uses `top1` (2, 2) if set."""
    table = _metric_table(metric, transitions, top1)
    only_a, only_b = int(table[1, 0]), int(table[0, 1])
    p_value = float(mcnemar(only_a, only_b))
    return PairedTest(metric, only_a, only_b, p_value, p_value < ALPHA)


def discordant_counts(types: Sequence[ErrorType], transitions: NDArray[np.int64]) -> tuple[int, int]:
    """Count the samples that have any of the types only in A, and only in B, from the transitions (T, T)."""
    table = cross_table(transitions, types)
    return int(table[1, 0]), int(table[0, 1])


def changed_classes(pair: Pair, names: Sequence[str]) -> tuple[ChangeRow, ...]:
    """Return the classes with changes, the smallest adjusted p-value first."""
    table = _by_class(pair, len(names))
    changed = np.flatnonzero(table[:, 2:].sum(axis=1))
    return _rows([names[index] for index in changed.tolist()], changed.tolist(), table[changed])


def changed_superclasses(pair: Pair, superclasses: Superclasses) -> tuple[ChangeRow, ...]:
    """Return the superclasses with changes, the smallest adjusted p-value first."""
    table = superclasses.totals(_by_class(pair, superclasses.num_classes)).astype(np.int64)
    changed = np.flatnonzero(table[:, 2:].sum(axis=1))
    return _rows([superclasses.ids[index] for index in changed.tolist()], [None] * len(changed), table[changed])


def _compare(pair: Pair) -> GroupComparison:
    """Return the changes among the counted samples."""
    member = pair.counted
    transitions = count_transitions(pair, member)
    num_samples = int(member.sum())
    types = _type_intervals(transitions)
    accuracies, accuracy, accuracy_limits = _multi_label_accuracies(pair) if num_samples else (None, None, None)
    rates = _rate_intervals(transitions) if num_samples else {}
    top1 = against_labels = None
    if num_samples and _has_rejected_targets(pair, member):
        top1 = _cross_table(pair.matches_a.is_target[member], pair.matches_b.is_target[member])
        rates[PairedMetric.TOP1] = _find_equal_rate(top1, transitions, None, rates) or _table_interval(top1)
    if num_samples:
        labels = _cross_table(pair.matches_a.is_label[member], pair.matches_b.is_label[member])
        against_labels = _find_equal_rate(labels, transitions, top1, rates) or _table_interval(labels)
    return GroupComparison(
        num_samples=num_samples,
        transitions=transitions,
        tests={metric: paired_test(metric, transitions, top1) for metric in PairedMetric},
        rates=rates,
        multi_label_accuracy=accuracy,
        types=types,
        type_changes=_type_changes(transitions, types),
        multi_label_accuracy_limits=accuracy_limits,
        multi_label_accuracies=accuracies,
        top1_table=top1,
        accuracy_against_labels=against_labels,
    )


def count_transitions(pair: Pair, mask: Mask) -> NDArray[np.int64]:
    """Count the counted samples of a mask (N,) by their types in A (rows) and in B (columns), (T, T)."""
    cells = POSITIONS[pair.types_a[mask]] * _SIZE + POSITIONS[pair.types_b[mask]]
    transitions: NDArray[np.int64] = np.bincount(cells, minlength=_SIZE**2).reshape(_SIZE, _SIZE)
    return transitions


def _has_rejected_targets(pair: Pair, member: Mask) -> bool:
    """Return whether any member is top-1 correct by its type but not by its original label, or vice versa."""
    return any(
        (matches.is_target != is_among(types, TOP1_CORRECT_TYPES))[member].any()
        for matches, types in ((pair.matches_a, pair.types_a), (pair.matches_b, pair.types_b))
    )


def _rate_intervals(transitions: NDArray[np.int64]) -> dict[PairedMetric, Interval]:
    """Return the intervals of the metrics' rates, from the same bootstrap draws."""
    num_samples = transitions.sum()
    inside = np.array([[float(error_type in types) for error_type in ERROR_TYPES] for types in METRIC_TYPES.values()])
    changes = inside[:, None, :] - inside[:, :, None]  # (K, T, T) contribution of a cell to B - A; inside: (K, T)
    low, high = _bootstrap_limits(transitions, changes.reshape(len(inside), -1))
    in_a, in_b = inside @ transitions.sum(axis=1) / num_samples, inside @ transitions.sum(axis=0) / num_samples
    intervals = [Interval(*map(float, values)) for values in zip(in_a, in_b, low, high, strict=True)]
    return dict(zip(METRIC_TYPES, intervals, strict=True))


def _cross_table(in_a: Mask, in_b: Mask) -> NDArray[np.int64]:
    """Count samples by a property in A (rows) and in B (columns), (2, 2)."""
    table: NDArray[np.int64] = np.bincount(2 * in_a.astype(np.int64) + in_b, minlength=4).reshape(2, 2)
    return table


def _metric_table(
    metric: PairedMetric, transitions: NDArray[np.int64], top1: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """Return the cross table of a metric's property, (2, 2). Top-1 accuracy has the table `top1` if it is set."""
    return top1 if metric is PairedMetric.TOP1 and top1 is not None else cross_table(transitions, METRIC_TYPES[metric])


def _find_equal_rate(
    table: NDArray[np.int64],
    transitions: NDArray[np.int64],
    top1: NDArray[np.int64] | None,
    rates: Mapping[PairedMetric, Interval],
) -> Interval | None:
    """Return the interval of a rate whose cross table equals `table` (2, 2), so that equal rates have equal intervals.

    Draws of the transitions (T, T) and of a cross table differ.
    """
    equal = (rate for metric, rate in rates.items() if np.array_equal(_metric_table(metric, transitions, top1), table))
    return next(equal, None)


def _table_interval(table: NDArray[np.int64]) -> Interval:
    """Return the interval of the share of samples with a property from its cross table (2, 2)."""
    num_samples = table.sum()
    (low,), (high,) = _bootstrap_limits(table, np.array([[0, 1, -1, 0]]))
    in_a, in_b = table[1].sum() / num_samples, table[:, 1].sum() / num_samples
    return Interval(float(in_a), float(in_b), float(low), float(high))


def _bootstrap_limits(
    table: NDArray[np.int64], changes: NDArray[np.number]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the bootstrap limits of the changes of K rates. A change that all draws have has a score interval.

    Args:
        table: Samples by their properties in A and B, of M cells.
        changes: (K, M) contribution of a sample of each cell to B - A: -1, 0, or 1.
    """
    counts = table.ravel()
    low, high = percentiles(resampled_cells(table) @ changes.T / counts.sum())
    only_a, only_b = (changes < 0) @ counts, (changes > 0) @ counts
    score_low, score_high = score_intervals(np.full(len(changes), counts.sum()), only_a, only_b)
    is_constant = (low == high) & (low != 0)
    return np.where(is_constant, score_low, low), np.where(is_constant, score_high, high)


def _type_intervals(transitions: NDArray[np.int64]) -> dict[ErrorType, Interval]:
    """Return the score interval of the share of samples with each type; empty without samples."""
    num_samples, both = transitions.sum(), transitions.diagonal()
    if not num_samples:
        return {}
    in_a, in_b = transitions.sum(axis=1), transitions.sum(axis=0)
    limits = score_intervals(np.full(_SIZE, num_samples), in_a - both, in_b - both)
    columns = (in_a / num_samples, in_b / num_samples, *limits)
    return {
        error_type: Interval(*values)
        for error_type, *values in zip(ERROR_TYPES, *(column.tolist() for column in columns), strict=True)
    }


def _type_changes(transitions: NDArray[np.int64], intervals: Mapping[ErrorType, Interval]) -> tuple[TypeChange, ...]:
    """Return the error types with changes, the smallest adjusted p-value first."""
    counts = {error_type: discordant_counts((error_type,), transitions) for error_type in TOP1_ERROR_TYPES}
    counts = {error_type: pair for error_type, pair in counts.items() if any(pair)}
    tests = _adjusted_tests(*np.array(list(counts.values()), dtype=np.int64).reshape(-1, 2).T)
    rows = [
        TypeChange(error_type, only_a, only_b, intervals[error_type], test)
        for (error_type, (only_a, only_b)), test in zip(counts.items(), tests, strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: (row.test.adjusted_p_value, row.test.p_value)))


def _adjusted_tests(only_a: NDArray[np.int64], only_b: NDArray[np.int64]) -> list[AdjustedTest]:
    """Return the tests of one table.

    A table contains only rows with changes. This selection depends on the number of changes in a row, and the null
    hypothesis concerns only their direction. The omitted rows therefore do not affect the false discovery rate.
    """
    return adjusted_tests(mcnemar(only_a, only_b))


def _multi_label_accuracies(pair: Pair) -> tuple[tuple[float, float], Interval | None, Interval | None]:
    """Return the multi-label accuracies of A and B, and two intervals of their change.

    The intervals are the two-sided 95 % interval, and the one-sided 95 % limits. Images are resampled within their
    target class. Both intervals are None if there are no draws.
    """
    correct_a, correct_b = is_among(pair.types_a, CORRECT_TYPES), is_among(pair.types_b, CORRECT_TYPES)
    only_a, only_b = correct_a & ~correct_b, correct_b & ~correct_a
    masks = (pair.counted & mask for mask in (np.True_, correct_a, correct_b, only_a, only_b))
    size = int(pair.targets.max(initial=0)) + 1
    counts = np.stack([np.bincount(pair.targets[mask], minlength=size) for mask in masks])
    samples, num_a, num_b, num_only_a, num_only_b = counts[:, counts[0] > 0]
    in_a, in_b = float((num_a / samples).mean()), float((num_b / samples).mean())
    draws, has_changes = resampled_class_means(samples, num_only_a, num_only_b), bool((num_only_a + num_only_b).any())
    effective = len(samples) ** 2 / (1 / samples).sum()  # images of equal classes whose mean has the same variance
    only_in_a, only_in_b = (effective * (only / samples).mean() for only in (num_only_a, num_only_b))
    # In the draws, a small class without a changed image has no variance, although it weighs as much as a large class.
    needs_score = not has_changes or effective < _MIN_EFFECTIVE * samples.sum()

    def interval(confidence: float) -> Interval:
        limits = [] if draws is None else [percentiles(-draws, confidence)]
        if needs_score:
            limits.append(score_intervals(effective, only_in_a, only_in_b, confidence))
        low, high = np.clip(np.array(limits, dtype=np.float64), -1, 1).T
        return Interval(in_a, in_b, float(low.min()), float(high.max()))  # the wider limits (docs/adr/0097)

    two_sided = None if draws is None else interval(CONFIDENCE) if has_changes else Interval(in_a, in_b, 0.0, 0.0)
    return (in_a, in_b), two_sided, None if draws is None and has_changes else interval(ONE_SIDED_95)


def _by_class(pair: Pair, num_classes: int) -> NDArray[np.int64]:
    """Count the samples, errors in A, fixed samples, and broken samples of each target class, (C, 4)."""
    masks = (pair.counted, pair.counted & is_among(pair.types_a, MULTI_LABEL_ERROR_TYPES), pair.fixed, pair.broken)
    return np.stack([np.bincount(pair.targets[mask], minlength=num_classes) for mask in masks], axis=1)


def _rows(names: Sequence[str], indices: Sequence[int | None], table: NDArray[np.int64]) -> tuple[ChangeRow, ...]:
    """Return one row per name; table (R, 4) with the columns of `_by_class`."""
    samples, _, fixed_counts, broken_counts = table.T
    tests = _adjusted_tests(fixed_counts, broken_counts)
    limits = np.stack(score_intervals(samples, fixed_counts, broken_counts), axis=1).tolist()
    rows = [
        ChangeRow(
            name=name,
            class_index=index,
            num_samples=size,
            fixed=fixed,
            broken=broken,
            errors=Interval(errors_a / size, (errors_a - fixed + broken) / size, low, high),
            test=test,
        )
        for name, index, (size, errors_a, fixed, broken), (low, high), test in zip(
            names, indices, table.tolist(), limits, tests, strict=True
        )
    ]
    return tuple(sorted(rows, key=_by_evidence))


def _by_evidence(row: ChangeRow) -> tuple[float, float, int, str]:
    return row.test.adjusted_p_value, row.test.p_value, -(row.fixed + row.broken), row.name

"""Compare: two models' verdicts on the same images become transitions, tests and intervals (spec/statistics)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.domain import (
    ERROR_TYPES,
    NUM_CLASSES,
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
)
from service.summary.significance import (
    ALPHA,
    mcnemar,
    percentiles,
    resampled_cells,
    resampled_class_means,
    share_intervals,
)
from service.summary.summarize import CORRECT_TYPES, GROUPS

_SIZE = len(ERROR_TYPES)  # rows and columns of the transitions
_MEMBERS: Mapping[PairedMetric, tuple[ErrorType, ...]] = {
    PairedMetric.TOP1: (ErrorType.CORRECT,),
    PairedMetric.MULTI_LABEL: CORRECT_TYPES,
    PairedMetric.SEVERE: (ErrorType.MODEL_FAILURE,),
}


@dataclass(frozen=True)
class Pair:
    """The verdicts of A and B on N samples."""

    types_a: Bytes  # (N,)
    types_b: Bytes  # (N,)
    targets: Classes  # (N,)
    counted: Mask  # (N,) judged in both, and not problematic
    num_left_out: int  # samples that only one of them judged, and that aren't problematic

    @property
    def fixed(self) -> Mask:
        """Return which counted samples are errors in A and correct in B, (N,)."""
        return self.counted & (self.types_a > ErrorType.MULTI_LABEL) & (self.types_b <= ErrorType.MULTI_LABEL)

    @property
    def broken(self) -> Mask:
        """Return which counted samples are correct in A and errors in B, (N,)."""
        return self.counted & (self.types_a <= ErrorType.MULTI_LABEL) & (self.types_b > ErrorType.MULTI_LABEL)


def pair_verdicts(types_a: Bytes, types_b: Bytes, targets: Classes, problematic: Mask) -> Pair:
    """Return the verdicts of A and B side by side; all arguments (N,); type 0 says that there is no prediction."""
    in_a, in_b = types_a != ErrorType.UNSPECIFIED, types_b != ErrorType.UNSPECIFIED
    left_out = int(((in_a ^ in_b) & ~problematic).sum())
    return Pair(types_a, types_b, targets, in_a & in_b & ~problematic, left_out)


def compare_groups(pair: Pair, groups: Mask) -> dict[Group, GroupComparison]:
    """Return what changed in each group; groups (3, N) as CLASS_GROUPS."""
    members = [pair.counted, *(pair.counted & row for row in groups)]
    return {group: _compare(pair, member) for group, member in zip(GROUPS, members, strict=True)}


def paired_test(question: PairedMetric, transitions: NDArray[np.int64]) -> PairedTest:
    """Return McNemar's test of one question from the transitions (8, 8)."""
    return _test(question, transitions, _MEMBERS[question])


def type_p_value(types: Sequence[ErrorType], transitions: NDArray[np.int64]) -> float:
    """Return McNemar's p-value of "has one of these types" from the transitions (8, 8)."""
    only_a, only_b = _discordant(transitions, types)
    return mcnemar(only_a, only_b)


def changed_classes(pair: Pair, names: Sequence[str]) -> tuple[ChangeRow, ...]:
    """Return the classes on which A and B differ, those that changed most first."""
    table = _by_class(pair)
    changed = np.flatnonzero(table[:, 2:].sum(axis=1))
    return _rows([names[index] for index in changed.tolist()], changed.tolist(), table[changed])


def changed_superclasses(pair: Pair, ids: Sequence[str], members: Mask) -> tuple[ChangeRow, ...]:
    """Return the superclasses on whose classes A and B differ, those that changed most first; members (S, C)."""
    table = members.astype(np.int64) @ _by_class(pair)
    changed = np.flatnonzero(table[:, 2:].sum(axis=1))
    return _rows([ids[index] for index in changed.tolist()], [None] * len(changed), table[changed])


def _compare(pair: Pair, member: Mask) -> GroupComparison:
    cells = (pair.types_a[member].astype(np.int64) - 1) * _SIZE + pair.types_b[member] - 1
    transitions = np.bincount(cells, minlength=_SIZE**2).reshape(_SIZE, _SIZE)
    num_samples = int(member.sum())
    rates, types = _rate_intervals(transitions) if num_samples else ({}, {})
    return GroupComparison(
        num_samples=num_samples,
        transitions=transitions,
        tests={question: paired_test(question, transitions) for question in PairedMetric},
        rates=rates,
        multi_label_accuracy=_accuracy_interval(pair, member) if num_samples else None,
        types=types,
    )


def _test(question: PairedMetric, transitions: NDArray[np.int64], types: Sequence[ErrorType]) -> PairedTest:
    only_a, only_b = _discordant(transitions, types)
    p_value = mcnemar(only_a, only_b)
    return PairedTest(question, only_a, only_b, p_value, p_value < ALPHA)


def _discordant(transitions: NDArray[np.int64], types: Sequence[ErrorType]) -> tuple[int, int]:
    inside = _is_one_of(types)
    return int(transitions[inside][:, ~inside].sum()), int(transitions[~inside][:, inside].sum())


def _is_one_of(types: Sequence[ErrorType]) -> Mask:
    return np.isin(np.arange(1, _SIZE + 1), list(types))


def _rate_intervals(
    transitions: NDArray[np.int64],
) -> tuple[dict[PairedMetric, Interval], dict[ErrorType, Interval]]:
    """Return the intervals of the three questions' rates and of each type's rate, from the same draws."""
    num_samples = transitions.sum()
    sets = [*_MEMBERS.values(), *((error_type_,) for error_type_ in ERROR_TYPES)]
    inside = np.stack([_is_one_of(types) for types in sets]).astype(np.float64)  # (K, 8)
    weights = (inside[:, :, None] - inside[:, None, :]).reshape(len(sets), -1)  # (K, 64) what a cell adds to A - B
    low, high = percentiles(resampled_cells(transitions) @ weights.T / num_samples)
    in_a, in_b = inside @ transitions.sum(axis=1) / num_samples, inside @ transitions.sum(axis=0) / num_samples
    result = [Interval(*map(float, values)) for values in zip(in_a, in_b, low, high, strict=True)]
    questions = len(_MEMBERS)
    return (
        dict(zip(_MEMBERS, result[:questions], strict=True)),
        dict(zip(ERROR_TYPES, result[questions:], strict=True)),
    )


def _accuracy_interval(pair: Pair, member: Mask) -> Interval:
    """Return multi-label accuracy, with images drawn anew within their target class."""
    right_a, right_b = pair.types_a <= ErrorType.MULTI_LABEL, pair.types_b <= ErrorType.MULTI_LABEL
    masks = (member, member & right_a, member & right_b, member & right_a & ~right_b, member & right_b & ~right_a)
    counts = np.stack([np.bincount(pair.targets[mask], minlength=NUM_CLASSES) for mask in masks])
    samples, in_a, in_b, only_a, only_b = counts[:, counts[0] > 0]
    low, high = percentiles(resampled_class_means(samples, only_a, only_b))
    return Interval(float((in_a / samples).mean()), float((in_b / samples).mean()), float(low), float(high))


def _by_class(pair: Pair) -> NDArray[np.int64]:
    """Return for each target class its samples, A's errors, and how many were fixed and broken, (C, 4)."""
    masks = (pair.counted, pair.counted & (pair.types_a > ErrorType.MULTI_LABEL), pair.fixed, pair.broken)
    return np.stack([np.bincount(pair.targets[mask], minlength=NUM_CLASSES) for mask in masks], axis=1)


def _rows(names: Sequence[str], indices: Sequence[int | None], table: NDArray[np.int64]) -> tuple[ChangeRow, ...]:
    """Return a row a name; table (R, 4) as _by_class has it."""
    samples, errors, fixed, broken = table.T
    intervals = share_intervals(samples, fixed, broken)
    result = [
        ChangeRow(
            name=name,
            class_index=index,
            num_samples=size,
            fixed=mended,
            broken=spoiled,
            errors=Interval(in_a / size, (in_a - mended + spoiled) / size, low, high),
        )
        for name, index, size, in_a, mended, spoiled, (low, high) in zip(
            names,
            indices,
            samples.tolist(),
            errors.tolist(),
            fixed.tolist(),
            broken.tolist(),
            intervals.tolist(),
            strict=True,
        )
    ]
    return tuple(sorted(result, key=lambda row: (-abs(row.fixed - row.broken), -(row.fixed + row.broken), row.name)))

"""Verdicts by class and by superclass, compared with loops over samples and with the oracle."""

from collections.abc import Mapping

import numpy as np
import pytest
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st
from oracle.aggregates import gain_if_fixed_mla, gain_if_fixed_top1, mean_over_target_classes
from oracle.verdicts import Sample, Verdict

from service.domain import BreakdownRow, ErrorType, Superclasses
from service.summary.breakdown import by_class, by_superclass, types_by_class

NUM_CLASSES = 1000
CLASSES = (0, 1, 500, 998, 999)
NAMES = [f"class {index}" for index in range(NUM_CLASSES)]
SUPERCLASSES = {
    "low": {0, 1},
    "odd": {1, 999},
    "lonely": {7},
    "nobody": set(),
}  # class 1 is in two, 500 and 998 are in none

# target, type (0: no prediction), problematic
ROWS = st.lists(st.tuples(st.sampled_from(CLASSES), st.integers(0, 8), st.booleans()), max_size=40)
Rows = list[tuple[int, int, bool]]


def table(rows: Rows) -> np.ndarray:
    return types_by_class(
        np.array([kind for _, kind, _ in rows], dtype=np.uint8),
        np.array([target for target, _, _ in rows], dtype=np.int16),
        np.array([not problematic for _, _, problematic in rows], dtype=bool),
        NUM_CLASSES,
    )


def superclass_rows(rows: Rows) -> list[BreakdownRow]:
    members = np.array([[index in classes for index in range(NUM_CLASSES)] for classes in SUPERCLASSES.values()])
    return by_superclass(table(rows), Superclasses.from_members(list(SUPERCLASSES), members))


def counted(rows: Rows) -> list[tuple[int, int]]:
    return [(target, kind) for target, kind, problematic in rows if not problematic and kind]


def expected(
    rows: Rows, classes: set[int]
) -> tuple[int, dict[int, int], float | None, dict[int, float], dict[int, float]]:
    """Count the samples, types, multi-label accuracy, and gains of classes, one sample at a time."""
    every = counted(rows)
    here = [(target, kind) for target, kind in every if target in classes]
    all_classes = {target for target, _ in every}

    def of_class(index: int, kinds: set[int]) -> float:
        kinds_here = [kind for target, kind in every if target == index]
        return sum(kind in kinds for kind in kinds_here) / len(kinds_here)

    counts = {k: sum(kind == k for _, kind in here) for k in range(1, 9)}
    present = sorted(all_classes & classes)
    accuracy = sum(of_class(index, {1, 2, 3}) for index in present) / len(present) if present else None
    top1 = {k: counts[k] / len(every) if every else 0.0 for k in range(2, 9)}
    multi_label = {
        k: sum(of_class(index, {k}) for index in present) / len(all_classes) if present and k >= 4 else 0.0
        for k in range(2, 9)
    }
    return len(here), counts, accuracy, top1, multi_label


def by_id(values: Mapping[ErrorType, float]) -> dict[int, float]:
    return {kind.id: value for kind, value in values.items()}


def agree(row: BreakdownRow, rows: Rows, classes: set[int]) -> None:
    samples, counts, accuracy, top1, multi_label = expected(rows, classes)
    assert row.num_samples == samples
    assert by_id(row.counts) == counts
    assert (row.multi_label_accuracy is None) == (accuracy is None)
    if accuracy is not None:
        assert row.multi_label_accuracy == pytest.approx(accuracy, abs=1e-12)
    assert by_id(row.gain_if_fixed_top1) == pytest.approx(top1, abs=1e-12)
    assert by_id(row.gain_if_fixed_multi_label) == pytest.approx(multi_label, abs=1e-12)


@max_examples(200)
@given(ROWS)
def test_rows_by_class_agree_with_a_loop(rows: Rows) -> None:
    result = by_class(table(rows), NAMES)

    present = sorted({target for target, _ in counted(rows)})
    assert [breakdown_row.class_index for breakdown_row in result] == present
    assert [breakdown_row.name for breakdown_row in result] == [NAMES[index] for index in present]
    for breakdown_row in result:
        agree(breakdown_row, rows, {breakdown_row.class_index})


@max_examples(200)
@given(ROWS)
def test_rows_by_superclass_agree_with_a_loop(rows: Rows) -> None:
    result = superclass_rows(rows)

    assert [(breakdown_row.name, breakdown_row.class_index) for breakdown_row in result] == [
        (name, None) for name in SUPERCLASSES
    ]
    for breakdown_row in result:
        agree(breakdown_row, rows, SUPERCLASSES[breakdown_row.name])


def judged(rows: Rows) -> tuple[list[Sample], list[Verdict]]:
    """Return the samples with a prediction, for the oracle."""
    predicted = [row for row in rows if row[1]]
    samples = [Sample(target, frozenset({target}), problematic, False) for target, _, problematic in predicted]
    return samples, [Verdict(kind) for _, kind, _ in predicted]


@max_examples(200)
@given(ROWS)
def test_gains_of_classes_add_up_to_the_total_gain(rows: Rows) -> None:
    result = by_class(table(rows), NAMES)

    samples, verdicts = judged(rows)
    top1, multi_label = gain_if_fixed_top1(samples, verdicts), gain_if_fixed_mla(samples, verdicts)
    for kind in list(ErrorType)[1:]:
        assert sum(breakdown_row.gain_if_fixed_top1[kind] for breakdown_row in result) == pytest.approx(
            top1[kind.id] or 0, abs=1e-12
        )
        total = sum(breakdown_row.gain_if_fixed_multi_label[kind] for breakdown_row in result)
        assert total == pytest.approx(multi_label[kind.id] or 0, abs=1e-12)


@max_examples(200)
@given(ROWS)
def test_gain_of_a_superclass_is_its_mean_times_its_share_of_classes(rows: Rows) -> None:
    samples, verdicts = judged(rows)
    classes = {target for target, _ in counted(rows)}
    for superclass_row in superclass_rows(rows):
        gains = gain_if_fixed_mla(samples, verdicts, superclass=SUPERCLASSES[superclass_row.name])
        share = len(classes & SUPERCLASSES[superclass_row.name]) / max(1, len(classes))
        for kind, gain in superclass_row.gain_if_fixed_multi_label.items():
            assert gain == pytest.approx((gains[kind.id] or 0) * share, abs=1e-12)


@max_examples(200)
@given(ROWS)
def test_accuracies_of_superclasses_agree_with_the_oracle(rows: Rows) -> None:
    samples, verdicts = judged(rows)
    for superclass_row in superclass_rows(rows):
        members = [
            row
            for row, sample in enumerate(samples)
            if not sample.problematic and sample.target in SUPERCLASSES[superclass_row.name]
        ]
        accuracy = mean_over_target_classes(samples, verdicts, members, {1, 2, 3})
        assert superclass_row.multi_label_accuracy == (None if accuracy is None else pytest.approx(accuracy, abs=1e-12))


@max_examples(100)
@given(ROWS)
def test_counts_of_classes_add_up(rows: Rows) -> None:
    result = by_class(table(rows), NAMES)

    assert sum(breakdown_row.num_samples for breakdown_row in result) == len(counted(rows))
    assert all(breakdown_row.num_samples == sum(breakdown_row.counts.values()) > 0 for breakdown_row in result)


def test_correct_types_have_no_multi_label_gain() -> None:
    (row,) = by_class(table([(0, 2, False), (0, 3, False), (0, 3, False), (0, 8, False)]), NAMES)

    assert row.gain_if_fixed_top1[ErrorType.MULTI_LABEL] == 0.5
    assert row.gain_if_fixed_multi_label[ErrorType.CLASS_OVERLAP] == 0
    assert row.gain_if_fixed_multi_label[ErrorType.MULTI_LABEL] == 0
    assert row.gain_if_fixed_multi_label[ErrorType.MODEL_FAILURE] == 0.25


def test_class_with_only_problematic_samples_has_no_row() -> None:
    assert by_class(table([(0, 8, True)]), NAMES) == []
    assert [superclass_row.num_samples for superclass_row in superclass_rows([(0, 8, True)])] == [0] * len(SUPERCLASSES)

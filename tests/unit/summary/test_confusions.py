"""The most frequent confusions, compared with a Counter."""

from collections import Counter

import numpy as np
import pytest
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st

from service.domain import Confusion
from service.summary.confusions import confusions, count_confusions, group_confused_classes

ROWS = st.lists(
    st.tuples(st.sampled_from((0, 1, 31, 999, 32_766)), st.sampled_from((0, 1, 500, 32_766)), st.integers(0, 8)),
    max_size=60,
)


def confuse(rows: list[tuple[int, int, int]], most: int) -> list[Confusion]:
    targets, predicted, types = zip(*rows, strict=True) if rows else ((), (), ())
    return confusions(
        np.array(targets, dtype=np.int16), np.array(predicted, dtype=np.int16), np.array(types, dtype=np.uint8), most
    )


@max_examples(200)
@given(ROWS, st.integers(0, 20))
def test_confusions_are_sorted_by_frequency_then_class(rows: list[tuple[int, int, int]], most: int) -> None:
    result = confuse(rows, most)

    errors = Counter((target, predicted) for target, predicted, kind in rows if kind >= 4)
    expected = sorted(errors.items(), key=lambda entry: (-entry[1], entry[0]))[:most]
    assert [((confusion.target, confusion.predicted), confusion.count) for confusion in result] == expected


@max_examples(100)
@given(ROWS)
def test_confusion_lists_its_error_types(rows: list[tuple[int, int, int]]) -> None:
    expected: dict[tuple[int, int], Counter[int]] = {}
    for target, predicted, kind in rows:
        if kind >= 4:
            expected.setdefault((target, predicted), Counter())[kind] += 1

    result = confuse(rows, 100)

    actual = {
        (confusion.target, confusion.predicted): {kind.id: count for kind, count in confusion.types.items()}
        for confusion in result
    }
    assert actual == expected


def test_correct_predictions_are_no_confusions() -> None:
    assert confuse([(504, 504, 1), (504, 968, 2), (504, 7, 3)], 10) == []


def pairs(*classes: tuple[int, int]) -> list[Confusion]:
    return [Confusion(target, predicted, 100 - index, {}) for index, (target, predicted) in enumerate(classes)]


@pytest.mark.parametrize(
    ("confused", "expected"),
    [
        ([], []),
        ([(5, 3)], [5, 3]),
        ([(5, 3), (3, 5)], [5, 3]),
        ([(5, 3), (8, 9), (3, 7)], [5, 3, 7, 8, 9]),
        ([(1, 2), (3, 4), (2, 3)], [1, 2, 3, 4]),
        ([(1, 2), (5, 6), (3, 4), (3, 2)], [1, 2, 3, 4, 5, 6]),
    ],
)
def test_classes_that_are_confused_are_side_by_side(confused: list[tuple[int, int]], expected: list[int]) -> None:
    assert group_confused_classes(pairs(*confused), 20) == expected


@max_examples(200)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=25), st.integers(2, 14))
def test_confused_classes_are_distinct_limited_and_those_of_the_first_pairs(
    confused: list[tuple[int, int]], limit: int
) -> None:
    result = group_confused_classes(pairs(*confused), limit)

    included = 0
    while included < len(confused) and len({number for pair in confused[: included + 1] for number in pair}) <= limit:
        included += 1
    assert len(result) == len(set(result))
    assert set(result) == {number for pair in confused[:included] for number in pair}


@max_examples(200)
@given(ROWS, st.lists(st.sampled_from((0, 1, 31, 500, 999, 32_766)), unique=True))
def test_counts_of_confusions_agree_with_a_loop(rows: list[tuple[int, int, int]], classes: list[int]) -> None:
    targets, predicted, types = zip(*rows, strict=True) if rows else ((), (), ())
    counts = count_confusions(
        np.array(targets, np.int16), np.array(predicted, np.int16), np.array(types, np.uint8), classes
    )

    errors = Counter((target, prediction) for target, prediction, kind in rows if kind >= 4)
    assert counts.tolist() == [[errors[target, prediction] for prediction in classes] for target in classes]


def test_missing_prediction_is_no_confusion() -> None:
    counts = count_confusions(np.array([0], np.int16), np.array([-1], np.int16), np.array([0], np.uint8), [0, 1])

    assert counts.sum() == 0

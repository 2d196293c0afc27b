"""The most frequent confusions, compared with a Counter."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain import Confusion
from service.summary.confusions import confusions

ROWS = st.lists(
    st.tuples(st.sampled_from((0, 1, 31, 999, 32_766)), st.sampled_from((0, 1, 500, 32_766)), st.integers(0, 8)),
    max_size=60,
)


def confuse(rows: list[tuple[int, int, int]], most: int) -> list[Confusion]:
    targets, predicted, types = zip(*rows, strict=True) if rows else ((), (), ())
    return confusions(
        np.array(targets, dtype=np.int16), np.array(predicted, dtype=np.int16), np.array(types, dtype=np.uint8), most
    )


@settings(max_examples=200)
@given(ROWS, st.integers(0, 20))
def test_confusions_are_sorted_by_frequency_then_class(rows: list[tuple[int, int, int]], most: int) -> None:
    result = confuse(rows, most)

    errors = Counter((target, predicted) for target, predicted, kind in rows if kind >= 4)
    expected = sorted(errors.items(), key=lambda entry: (-entry[1], entry[0]))[:most]
    assert [((element.target, element.predicted), element.count) for element in result] == expected


@settings(max_examples=100)
@given(ROWS)
def test_confusion_lists_its_error_types(rows: list[tuple[int, int, int]]) -> None:
    for confusion in confuse(rows, 100):
        kinds = [
            k
            for target, predicted, k in rows
            if (target, predicted) == (confusion.target, confusion.predicted) and k >= 4
        ]
        assert {kind.id: count for kind, count in confusion.types.items()} == Counter(kinds)


def test_correct_predictions_are_no_confusions() -> None:
    assert confuse([(504, 504, 1), (504, 968, 2), (504, 7, 3)], 10) == []

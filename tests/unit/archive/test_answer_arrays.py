"""Free-text answers as arrays: stored answers are read again, and damaged arrays are refused."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.archive.answer_arrays import from_arrays, to_arrays
from service.domain import NO_CLASS, Answers

ANSWERS = Answers(
    ("a dog", "crâne, \n ☂", ""),
    np.array([1, 3, 2], dtype=np.uint8),
    np.array([0, -1, 2, 1], dtype=np.int32),
    np.array([True, False, False]),
    {1: (134, 517)},
)
TOP1 = np.array([3, -1, NO_CLASS, NO_CLASS], dtype=np.int16)


def arrays() -> dict[str, NDArray[Any]]:
    return {"top1": TOP1} | to_arrays(ANSWERS)


def test_stored_answers_are_read_again() -> None:
    answers = from_arrays(arrays())

    assert answers is not None
    assert (answers.texts, dict(answers.candidates)) == (ANSWERS.texts, dict(ANSWERS.candidates))
    for name in ("outcomes", "index", "overridden"):
        np.testing.assert_array_equal(getattr(answers, name), getattr(ANSWERS, name))


def test_predictions_of_earlier_versions_have_no_answers() -> None:
    assert from_arrays({"top1": TOP1}) is None


@pytest.mark.parametrize(
    "damage",
    [
        {"answer_index": np.array([0, 0, 0, 3], dtype=np.int32)},
        {"answer_index": np.array([0, 0, 0, -2], dtype=np.int32)},
        {"answer_index": np.array([0, 0, 0], dtype=np.int32)},
        {"answer_index": np.array([0, 0, 0, 0], dtype=np.int64)},
        {"answer_outcomes": np.array([1, 1, 9], dtype=np.uint8)},
        {"answer_outcomes": np.array([1, 1], dtype=np.uint8)},
        {"answer_overridden": np.array([1, 1, 0], dtype=np.uint8)},
        {"answers": np.frombuffer(b'{"texts": ["a", 1, "b"], "candidates": {}}', dtype=np.uint8)},
        {"answers": np.frombuffer(b'{"texts": ["a", "b", "c"], "candidates": {"1": [-1]}}', dtype=np.uint8)},
        {"answers": np.frombuffer(b"[" * 1000, dtype=np.uint8)},
    ],
)
def test_damaged_arrays_are_refused(damage: dict[str, NDArray[Any]]) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        from_arrays(arrays() | damage)

"""Lists of numbers in two arrays."""

import numpy as np
import pytest

from service.taxonomy.number_lists import NumberLists

LISTS = [[3, 1], [], [2], [0, 0, 5]]


def test_lists_are_returned_as_they_were_given() -> None:
    lists = NumberLists.of(LISTS)

    assert len(lists) == 4
    assert lists.to_lists() == LISTS
    assert [lists[index].tolist() for index in range(4)] == LISTS
    with pytest.raises(IndexError):
        lists[4]
    with pytest.raises(IndexError):
        lists[-1]


@pytest.mark.parametrize("indices", [[], [1], [3, 0, 3], [2, 1, 0, 3]])
def test_numbers_of_several_lists_are_taken_at_once(indices: list[int]) -> None:
    positions, numbers = NumberLists.of(LISTS).take(np.array(indices, dtype=np.int16))

    expected = [(position, number) for position, index in enumerate(indices) for number in LISTS[index]]
    assert list(zip(positions.tolist(), numbers.tolist(), strict=True)) == expected


def test_no_lists_are_returned_as_no_lists() -> None:
    assert NumberLists.of([]).to_lists() == []

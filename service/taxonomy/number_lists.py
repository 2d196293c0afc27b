"""Lists of different lengths, stored in two arrays, so that one operation can read many lists."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class NumberLists:
    """L lists of numbers."""

    offsets: NDArray[np.integer]  # (L + 1,) list i: numbers[offsets[i]:offsets[i + 1]]
    numbers: NDArray[np.int32]  # (M,)

    @classmethod
    def of(cls, lists: Iterable[Iterable[int]]) -> "NumberLists":
        """Create lists."""
        rows = [list(row) for row in lists]
        numbers = np.array([number for row in rows for number in row], dtype=np.int32)
        return cls(np.cumsum([0, *map(len, rows)]), numbers)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[np.int32]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.numbers[self.offsets[index] : self.offsets[index + 1]]

    def take(self, indices: NDArray[np.integer]) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
        """Return, for each number of several lists, the position of its list in `indices`, and the number itself."""
        counts = self._counts[indices]
        positions = np.repeat(np.arange(len(indices)), counts)
        shifts = np.repeat(self.offsets[indices] - (np.cumsum(counts) - counts), counts)
        return positions, self.numbers[shifts + np.arange(len(positions))]

    @cached_property
    def _counts(self) -> NDArray[np.integer]:
        return np.diff(self.offsets)

    def to_lists(self) -> list[list[int]]:
        """Return the lists."""
        return [self[index].tolist() for index in range(len(self))]

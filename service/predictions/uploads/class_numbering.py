"""Recognizes files whose classes are numbered from 1."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from service.domain import Classes, LabelSpace


class OneBased:
    """Recognizes classes numbered from 1: the only unknown class is the number of classes, and no class is 0."""

    def __init__(self, label_space: LabelSpace) -> None:
        self._label_space = label_space
        self._num_last = 0  # rows whose class equals the number of classes
        self._num_wrong = 0  # rows with an unknown class

    def add(self, column: pa.Array, wrong: NDArray[np.intp]) -> None:
        """Add the classes of a block; `wrong` has the positions of the rows with an unknown class."""
        if len(wrong):
            texts = pc.utf8_trim_whitespace(column.take(pa.array(wrong)).cast(pa.string()))
            last = pc.equal(texts, str(self._label_space.num_classes))
            self._num_last += pc.sum(last).as_py() or 0
            self._num_wrong += len(wrong)

    def is_likely(self, top1: Classes) -> bool:
        """Return whether the numbering probably starts at 1. `top1`: (A,) classes, -1 if an image has none."""
        return 0 < self._num_last == self._num_wrong and not self._label_space.numbers and not (top1 == 0).any()

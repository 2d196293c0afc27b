"""Columns of predicted classes: indices, IDs, and names."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from errata.errors import InvalidUpload
from numpy.typing import NDArray

from service.domain import Classes, LabelSpace
from service.predictions.uploads.descriptions import class_forms
from service.predictions.uploads.rows import MAX_INT64
from service.predictions.uploads.terms import FormatTerms

TEXTS_PER_CLASS = 20  # limit of distinct class texts in one upload; a class has only a few names
MIN_CLASS_TEXTS = 20_000  # lower bound of this limit: with few classes, each can have more names
UNKNOWN_CLASS = -1
NUMBERED_CLASS = re.compile(r"LABEL_(\d{1,5})")  # how transformers names classes that have no name


class ClassColumnParser:
    """Parses the columns of one upload. Each distinct text is parsed once."""

    def __init__(self, label_space: LabelSpace, terms: FormatTerms) -> None:
        self.has_numbered_classes = False  # whether a class had a name such as LABEL_7
        self.has_names = False  # whether a class had another name, or an ID that is no number
        self._label_space = label_space
        self._terms = terms
        self._classes_by_text: dict[str, int] = {}
        self._num_last = 0  # rows whose class equals the number of classes
        self._num_unknown = 0  # rows with an unknown class

    def parse(self, column: pa.Array) -> NDArray[np.int64] | NDArray[np.int16]:
        """Return the class of each row, (n,); UNKNOWN_CLASS for an unknown one.

        Raises:
            InvalidUpload: The column is neither integers nor text, or has far more distinct texts than classes.
        """
        if pa.types.is_integer(column.type):
            return _classes_of_numbers(_to_int64(column), self._label_space)
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            raise InvalidUpload(
                f"The predicted classes have the type {column.type!s:.80}. Expected {class_forms(self._label_space)}.",
                field="predicted_class",
            )
        indices = _plain_indices(column, self._label_space)
        if indices is not None:
            return indices
        encoded = column.dictionary_encode()
        classes = [self._parse_class(text) for text in encoded.dictionary.to_pylist()]
        return np.array(classes, dtype=np.int64).take(np.asarray(encoded.indices))

    def count_unknown(self, column: pa.Array, rows: NDArray[np.intp]) -> None:
        """Count the rows of a column with an unknown class, for `are_one_based`."""
        if len(rows):
            texts = pc.utf8_trim_whitespace(column.take(pa.array(rows)).cast(pa.string()))
            self._num_last += pc.sum(pc.equal(texts, str(self._label_space.num_classes))).as_py() or 0
            self._num_unknown += len(rows)

    def are_one_based(self, top1: Classes) -> bool:
        """Return whether the classes of all columns are probably numbered from 1.

        Then, the only unknown class is the number of classes, and no class is 0. `top1`: (A,) classes, -1 if an image
        has none.
        """
        is_last_only = 0 < self._num_last == self._num_unknown
        return is_last_only and not self._label_space.numbers and not (top1 == 0).any()

    def _parse_class(self, text: str) -> int:
        """Return the class of a text; UNKNOWN_CLASS for an unknown one."""
        index = self._classes_by_text.get(text)
        if index is None:
            label_space = self._label_space
            limit = max(MIN_CLASS_TEXTS, TEXTS_PER_CLASS * label_space.num_classes)
            if len(self._classes_by_text) >= limit:
                raise InvalidUpload(
                    f"The file has more than {limit:,} distinct predicted classes. Expected "
                    f"{class_forms(label_space)} in the {self._terms.field} of the predicted class.",
                    field="predicted_class",
                )
            known = label_space.parse(text)
            if known is None and (match := NUMBERED_CLASS.fullmatch(text.strip())):
                number = int(match[1])
                known = number if number < label_space.num_classes else None
                self.has_numbered_classes = True
            elif not text.strip().isdecimal():
                self.has_names = True
            index = self._classes_by_text[text] = UNKNOWN_CLASS if known is None else known
        return index


def _to_int64(column: pa.Array) -> NDArray[np.int64]:
    """Return integers as int64. Values above the maximum of int64 become this maximum, not a negative number."""
    if column.type == pa.uint64():
        column = pc.min_element_wise(column, pa.scalar(MAX_INT64, pa.uint64()))
    return np.asarray(column.cast(pa.int64(), safe=False))


def _classes_of_numbers(values: NDArray[np.int64], label_space: LabelSpace) -> NDArray[np.int64]:
    """Return the class of each number, -1 if unknown. A number that is not an ID or a name is an index."""
    classes = np.where((values < 0) | (values >= label_space.num_classes), -1, values)
    if label_space.numbers:
        numbers = np.array(sorted(label_space.numbers.items()), dtype=np.int64)
        positions = np.minimum(np.searchsorted(numbers[:, 0], values), len(numbers) - 1)
        classes = np.where(numbers[positions, 0] == values, numbers[positions, 1], classes)
    return classes


def _plain_indices(column: pa.Array, label_space: LabelSpace) -> NDArray[np.int16] | None:
    """Return the classes if every text is a decimal index and no text is also an ID or name; otherwise, None.

    Arrow also parses hexadecimal numbers and -0. The comparison of lengths finds them: these texts are longer than the
    decimal form of their number.
    """
    try:
        values = np.asarray(column.cast(pa.int16()))
    except pa.ArrowInvalid:
        return None
    num_classes = label_space.num_classes
    if len(values) and (values.min() < 0 or values.max() >= num_classes):
        return None
    digits = len(values) + sum(np.count_nonzero(values >= 10**n) for n in range(1, len(str(num_classes - 1))))
    if pc.sum(pc.binary_length(column)).as_py() != digits:
        return None
    if label_space.numbers and np.isin(values, [*label_space.numbers]).any():
        return None
    return values

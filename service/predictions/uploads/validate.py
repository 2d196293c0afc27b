"""Validation: rows become one prediction for each image of the data set, or an error that names the lines."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from errata.errors import InvalidRow, InvalidUpload, Violation
from numpy.typing import NDArray

from service.domain import NUM_CLASSES, Mask, Predictions, RowOrder
from service.predictions.uploads.rows import NamedRows, OrderedRows
from service.taxonomy.classes import parse_class

MAX_CLASS_TEXTS = 20 * NUM_CLASSES  # different texts that an upload may have for classes: each has a few names
SHOWN = 10  # violations that an error lists; it counts the rest
EXPECTED_CLASS = "a class index 0..999, a WordNet id or a class name that is unique"


@dataclass(frozen=True)
class Layout:
    """What an upload is held against: the A images of a data set, N of them judged."""

    dataset: str
    names: pa.Array  # A, binary, distinct
    rows: NDArray[np.int32]  # (N,) the judged ones
    positions: Callable[[RowOrder], NDArray[np.intp]]  # (A,) which image a row without a name is about
    classes: Mask | None = None  # (C,) the data set's own classes; None: all
    find_datasets: Callable[[bytes], Sequence[str]] = lambda _: ()  # the other data sets that have a file name


def place_named(blocks: Iterator[NamedRows], layout: Layout) -> Predictions:
    """Return the predictions of rows that name their images, in any order."""
    assembly = _Assembly(layout)
    for block in blocks:
        assembly.add(block)
    return assembly.finish()


def place_ordered(rows: OrderedRows, layout: Layout, order: RowOrder) -> Predictions:
    """Return the predictions of rows without names, which stand in the given order."""
    bad = np.flatnonzero((rows.top1 < 0) | (rows.top1 >= NUM_CLASSES))
    if len(bad):
        what = f"expected a class index 0..{NUM_CLASSES - 1}, got one outside"
        _refuse([Violation("predicted_class", what, int(row + 1)) for row in bad[:SHOWN]], len(bad))
    positions = layout.positions(order)
    top1 = np.full(len(positions), -1, dtype=np.int16)
    top1[positions] = rows.top1
    probability = top1_restricted = None
    if rows.probability is not None:
        probability = np.zeros(len(positions), dtype=np.float16)
        probability[positions] = rows.probability
    if rows.top1_restricted is not None:
        top1_restricted = np.full(len(positions), -1, dtype=np.int16)
        top1_restricted[positions] = rows.top1_restricted
    return Predictions(top1, probability, top1_restricted)


class _Assembly:
    """Collects blocks of named rows, and all that is wrong with them."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        images = len(layout.names)
        self._top1 = np.full(images, -1, dtype=np.int16)
        self._probability: NDArray[np.float16] | None = None
        self._count = 0
        self._wrong: list[Violation] = []
        self._num_wrong = 0
        self._num_unknown = 0  # rows whose file name is not in the data set
        self._unknown_name = b""  # one of them
        self._meanings: dict[str, int] = {}
        self._aligned = True  # so far the names are the data set's own, in its order

    def add(self, block: NamedRows) -> None:
        """Take a block of rows."""
        self._wrong += block.wrong
        self._num_wrong += block.num_wrong
        if not len(block.names):
            return
        index = self._images(block)
        classes = self._classes(block)
        probabilities = self._probabilities(block)
        good: NDArray[np.intp] | slice = slice(None)
        where: NDArray[np.int64] | slice = slice(self._count, self._count + len(block.names))
        if not self._aligned or (classes < 0).any():
            good = self._without_repeats(block, index, np.flatnonzero((index >= 0) & (classes >= 0)))
            where = index[good]
        self._top1[where] = classes[good]
        if probabilities is not None:
            if self._probability is None:
                self._probability = np.zeros(len(self._top1), dtype=np.float16)
            self._probability[where] = probabilities[good]
        self._count += len(block.names)

    def finish(self) -> Predictions:
        """Return the predictions; raise InvalidRow or InvalidUpload if anything was wrong or is missing."""
        if self._num_unknown and self._num_unknown == self._count:
            raise self._other_dataset()
        if self._num_wrong:
            _refuse(sorted(self._wrong, key=lambda item: item.line or 0)[:SHOWN], self._num_wrong)
        if not self._count:
            raise InvalidUpload("expected a row for every judged image, got no rows", field="chunk")
        missing = self._layout.rows[self._top1[self._layout.rows] < 0]
        if len(missing):
            names = ", ".join(self._layout.names[int(row)].as_py().decode() for row in missing[:SHOWN])
            more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
            raise InvalidUpload(
                f"expected a row for every image that {self._layout.dataset} judges, "
                f"got none for {len(missing)}: {names}{more}",
                field="file_name",
            )
        return Predictions(self._top1, self._probability)

    def _other_dataset(self) -> InvalidRow:
        """Return the error for a file without a file name of the data set; it names the data set to try."""
        datasets = self._layout.find_datasets(self._unknown_name)
        message = f"None of the {self._count:,} file names is in data set {self._layout.dataset!r}."
        if datasets:
            names = " or ".join(repr(dataset) for dataset in datasets)
            message += f" They look like file names of data set {names}. Use --dataset {datasets[0]}."
        else:
            message += f" Its file names look like {self._layout.names[0].as_py().decode(errors='replace')!r:.80}."
        return InvalidRow(message, violations=sorted(self._wrong, key=lambda item: item.line or 0)[:SHOWN])

    def _images(self, block: NamedRows) -> NDArray[np.int64]:
        """Return which image each row is about, -1 where there is no such image."""
        names, images = block.names, self._layout.names
        if self._aligned and names.equals(images.slice(self._count, len(names))):
            return np.arange(self._count, self._count + len(names))
        self._aligned = False
        index = _index_in(names, images)
        unknown = np.flatnonzero(index < 0)
        if len(unknown):  # the same names with their folder, as a walk over `wnid/file` writes them
            bare = pc.replace_substring_regex(names.take(pa.array(unknown)), pattern="^n[0-9]{8}/", replacement="")
            index[unknown] = _index_in(bare, images)
            unknown = np.flatnonzero(index < 0)
        if len(unknown):
            self._num_unknown += len(unknown)
            self._unknown_name = self._unknown_name or names[int(unknown[0])].as_py()
        self._note("file_name", f"expected an image of {self._layout.dataset}, got ", names, block.lines, unknown)
        return index

    def _classes(self, block: NamedRows) -> NDArray[np.int64]:
        """Return the class of each row, -1 where it is none."""
        column = block.classes
        if pa.types.is_integer(column.type):
            classes = np.asarray(column.cast(pa.int64(), safe=False))
            classes = np.where((classes < 0) | (classes >= NUM_CLASSES), -1, classes)
        elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            plain = _plain_indices(column)
            if plain is not None:
                classes = plain
            else:
                encoded = column.dictionary_encode()
                table = np.array([self._meaning(text) for text in encoded.dictionary.to_pylist()], dtype=np.int64)
                classes = table[np.asarray(encoded.indices)]
        else:
            raise InvalidUpload(
                f"expected predicted_class to be {EXPECTED_CLASS}, got {column.type}", field="predicted_class"
            )
        wrong = np.flatnonzero(classes < 0)
        self._note("predicted_class", f"expected {EXPECTED_CLASS}, got ", column, block.lines, wrong)
        return classes

    def _meaning(self, text: str) -> int:
        """Return the class of a text, -1 for none; each text is parsed once an upload."""
        meaning = self._meanings.get(text)
        if meaning is None:
            if len(self._meanings) >= MAX_CLASS_TEXTS:
                raise InvalidUpload(
                    f"expected classes, got more than {MAX_CLASS_TEXTS} different texts in the column of classes",
                    field="predicted_class",
                )
            class_ = parse_class(text)
            meaning = self._meanings[text] = -1 if class_ is None else class_
        return meaning

    def _probabilities(self, block: NamedRows) -> NDArray[np.float64] | None:
        column = block.probabilities
        if column is None:
            return None
        if pa.types.is_string(column.type):
            try:
                values = np.asarray(column.cast(pa.float64()))
            except pa.ArrowInvalid:  # some text is no number, and Arrow refuses the whole column
                values = np.array([_number(text) for text in column.to_pylist()])
        elif pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
            values = np.asarray(column.cast(pa.float64(), safe=False))
        else:
            raise InvalidUpload(
                f"expected predicted_probability to be a number, got {column.type}", field="predicted_probability"
            )
        wrong = np.flatnonzero(~((values >= 0) & (values <= 1)))
        self._note("predicted_probability", "expected a number from 0 to 1, got ", column, block.lines, wrong)
        return values

    def _without_repeats(
        self,
        block: NamedRows,
        index: NDArray[np.int64],
        good: NDArray[np.intp],
    ) -> NDArray[np.intp]:
        """Return the rows that are the first about their image, and note the others."""
        if self._aligned:
            return good
        images = index[good]
        first = np.zeros(len(good), dtype=bool)
        first[np.unique(images, return_index=True)[1]] = True
        first &= self._top1[images] < 0
        if not first.all():
            repeats = good[~first]
            self._note("file_name", "expected one row an image, got another for ", block.names, block.lines, repeats)
        return good[first]

    def _note(
        self, field: str, expected: str, column: pa.Array, lines: NDArray[np.int64], rows: NDArray[np.intp]
    ) -> None:
        self._num_wrong += len(rows)
        for row in rows[:SHOWN]:
            value = column[int(row)].as_py()
            shown = value.decode(errors="replace") if isinstance(value, bytes) else value
            self._wrong.append(Violation(field, f"{expected}{shown!r:.80}", int(lines[row])))


def _plain_indices(column: pa.Array) -> NDArray[np.int64] | None:
    """Return the classes if every text is an index as people write it; None if any needs a closer look.

    Arrow also reads hexadecimal numbers and -0; their texts are longer than their decimal digits.
    """
    try:
        values = np.asarray(column.cast(pa.int16()))
    except pa.ArrowInvalid:
        return None
    digits = 1 + (values >= 10) + (values >= 100)
    if (values < 0).any() or (values >= NUM_CLASSES).any() or pc.sum(pc.binary_length(column)).as_py() != digits.sum():
        return None
    return values.astype(np.int64)


def _index_in(names: pa.Array, images: pa.Array) -> NDArray[np.int64]:
    return np.asarray(pc.fill_null(pc.index_in(names, value_set=images), -1)).astype(np.int64)


def _number(text: str) -> float:
    if "_" in text or not text.isascii():
        return float("nan")  # Python's own ways of writing a number
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _refuse(first: list[Violation], count: int) -> None:
    more = f" (and {count - 1} more)" if count > 1 else ""
    raise InvalidRow(f"line {first[0].line}: {first[0].description}{more}", violations=first)

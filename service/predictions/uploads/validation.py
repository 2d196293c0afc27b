"""Validation of rows. The result has at most one prediction per image; for wrong rows, an error lists their lines."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from errata.errors import InvalidRequest, InvalidRow, InvalidUpload, Violation
from errata.messages import pluralize
from numpy.typing import NDArray

from service.domain import NO_PREDICTION, LabelSpace, Mask, Predictions, RowOrder
from service.image_names import AMBIGUOUS, MAX_CANDIDATES, NameIndex
from service.predictions.answers.collector import AnswerCollector
from service.predictions.answers.matcher import AnswerMatcher
from service.predictions.uploads.class_column import UNKNOWN_CLASS, ClassColumnParser
from service.predictions.uploads.descriptions import (
    decode_name,
    describe_ambiguous_name,
    describe_class,
    describe_index,
    describe_inexact_repeat,
    describe_number,
    describe_probability,
    describe_repeat,
    describe_unknown_name,
    one_based_note,
    parse_number,
)
from service.predictions.uploads.rows import MAX_VIOLATIONS, SOME_MISSING, NamedRows, OrderedRows
from service.predictions.uploads.terms import NPY_TERMS, FormatTerms
from service.unicode_form import normalize_unicode

MAX_SAMPLE = 100  # maximum number of unknown file names that are looked up in the other data sets
UNKNOWN_SHARE = 0.5  # if a data set has more than this share of the unknown names, the file is probably for it
MAX_SHOWN_NAME = 60  # characters of a file name in an assumption
NOT_PROBABILITIES = "The scores are not from 0 to 1, so they are not used as probabilities."


FindDatasets: TypeAlias = Callable[[Sequence[bytes]], Sequence[tuple[str, int]]]
"""Returns the other data sets that have images with the names, and the number of such names; largest first."""


@dataclass(frozen=True)
class Layout:
    """The A images of a data set."""

    dataset: str
    names: pa.Array  # (A,) binary, distinct
    positions: Callable[[RowOrder], NDArray[np.intp]]  # (A,) image of each row of a file without file names
    label_space: LabelSpace
    classes: Mask | None = None  # (C,) classes that occur in the data set; None: all
    find_datasets: FindDatasets = lambda _: ()
    create_matcher: Callable[[], AnswerMatcher] | None = None  # for free-text answers; None: from the label space only
    is_cancelled: Callable[[], bool] = lambda: False  # whether the upload was canceled


def place_named(
    blocks: Iterator[NamedRows], layout: Layout, terms: FormatTerms, order: RowOrder = RowOrder.UNSPECIFIED
) -> tuple[Predictions, tuple[str, ...], Predictions | None, bool]:
    """Place rows that name their images, or have the numbers of the images.

    Args:
        blocks: Rows in any order.
        layout: Images of the data set.
        terms: Terms of the format, for messages.
        order: Order of the images that rows refer to by number.

    Returns:
        The predictions in the order of the data set, the assumptions made, for numbered images the predictions that
        result from the other row order, and whether classes have names instead of numbers.

    Raises:
        InvalidRequest: The request has a row order, but the rows have file names.
        InvalidRow: Some rows are wrong.
        InvalidUpload: The file has no rows, or a column has the wrong type.
    """
    assembly = _Assembly(layout, terms, order)
    for block in blocks:
        assembly.add(block)
    return assembly.finish(), assembly.assumptions, assembly.reordered(), assembly.has_class_names


def row_orders(order: RowOrder) -> tuple[RowOrder, RowOrder]:
    """Return the row order that a request means, and the other one."""
    orders = RowOrder.PATH, RowOrder.FILE_NAME
    return orders[::-1] if order is RowOrder.FILE_NAME else orders


def place_ordered(rows: OrderedRows, layout: Layout, order: RowOrder) -> Predictions:
    """Return the predictions of rows without file names; raise InvalidRow for classes out of range."""
    bad_rows = np.flatnonzero((rows.top1 < 0) | (rows.top1 >= layout.label_space.num_classes))
    if len(bad_rows):
        violations = [
            Violation("predicted_class", describe_index(int(rows.top1[row]), layout.label_space), int(row + 1), "row")
            for row in bad_rows[:MAX_VIOLATIONS]
        ]
        is_one_based = rows.top1.min() > 0 and rows.top1.max() == layout.label_space.num_classes
        note = one_based_note(layout.label_space) if is_one_based else ""
        raise _invalid_row(violations, len(bad_rows), NPY_TERMS, note)
    positions = layout.positions(order)
    top1 = np.full(len(positions), NO_PREDICTION, dtype=np.int16)
    top1[positions] = rows.top1
    probability = top1_restricted = None
    if rows.probability is not None:
        probability = np.zeros(len(positions), dtype=np.float16)
        probability[positions] = rows.probability
    if rows.top1_restricted is not None:
        top1_restricted = np.full(len(positions), NO_PREDICTION, dtype=np.int16)
        top1_restricted[positions] = rows.top1_restricted
    return Predictions(top1, probability, top1_restricted)


class _Assembly:
    """Collects blocks of rows with file names, and their violations."""

    def __init__(self, layout: Layout, terms: FormatTerms, order: RowOrder) -> None:
        self._layout = layout
        self._terms = terms
        self._order = order
        images = len(layout.names)
        self._top1 = np.full(images, NO_PREDICTION, dtype=np.int16)
        self._placed: list[tuple[NDArray[np.int64] | slice, NDArray[np.int64]]] = []  # images and lines of blocks
        self._probability: NDArray[np.float16] | None = None
        self._count = 0
        self._num_unknown = 0  # rows whose file name is not in the data set
        self._unknown_names: list[bytes] = []  # the first of these file names, at most MAX_SAMPLE
        self._violations: list[Violation] = []  # the first by line, at most MAX_VIOLATIONS
        self._num_wrong = 0
        self._classes = ClassColumnParser(layout.label_space, terms)
        self._answers: AnswerCollector | None = None
        self._is_numbered = False
        self._is_aligned = True  # whether all names so far are the names of the data set, in its order
        self._assumptions: dict[str, None] = {}
        self._missing_probabilities = ""  # why the probabilities of the file are not used
        self._index: NameIndex | None = None
        self._num_matched = 0  # number of names that match an image inexactly
        self._matched = b"", b""  # one such name, and the name of its image

    @property
    def assumptions(self) -> tuple[str, ...]:
        """Return the assumptions made to read the rows, one sentence each."""
        notes = dict(self._assumptions)
        if self._num_matched:
            notes[self._describe_matches()] = None
        if self._classes.has_numbered_classes:
            notes["A class such as LABEL_7 is the class with index 7."] = None
        if self._missing_probabilities:
            notes[self._missing_probabilities] = None
        return tuple(notes)

    @property
    def has_class_names(self) -> bool:
        """Return whether a class has a name, an ID that is no number, or an answer instead of a number."""
        return self._classes.has_names or self._answers is not None

    def add(self, block: NamedRows) -> None:
        """Add a block of rows."""
        self._add_violations(block.wrong)
        self._num_wrong += block.num_wrong
        self._assumptions |= dict.fromkeys(block.assumptions)
        if not len(block.names):
            return
        if self._order is not RowOrder.UNSPECIFIED and not block.is_numbered:
            raise _unused_row_order(self._terms)
        images = self._find_images(block)
        classes, numbers = self._find_answers(block) if block.are_answers else (self._find_classes(block), None)
        probabilities = self._parse_probabilities(block)
        valid: NDArray[np.intp] | slice = slice(None)
        targets: NDArray[np.int64] | slice = slice(self._count, self._count + len(block.names))
        repeats = np.array([], dtype=np.intp)
        if not self._is_aligned or (classes == UNKNOWN_CLASS).any():
            valid, repeats = self._split_repeats(images, np.flatnonzero((images >= 0) & (classes != UNKNOWN_CLASS)))
            targets = images[valid]
        self._top1[targets] = classes[valid]
        self._placed.append((targets, block.lines[valid]))
        if len(repeats):
            self._note_repeats(block, images, repeats)
        if self._answers is not None and numbers is not None:
            self._answers.place(targets, numbers[valid])
        if probabilities is not None:
            if self._probability is None:
                self._probability = np.zeros(len(self._top1), dtype=np.float16)
            self._probability[targets] = probabilities[valid]
        self._count += len(block.names)

    def finish(self) -> Predictions:
        """Return the predictions, with class -1 for images without a row; raise InvalidRow if rows are wrong."""
        violations = [replace(violation, unit=self._terms.row) for violation in self._violations]
        if self._num_unknown > UNKNOWN_SHARE * self._count:
            self._check_other_dataset(violations)
        if self._num_wrong:
            is_one_based = self._classes.are_one_based(self._top1)
            note = one_based_note(self._layout.label_space) if is_one_based else ""
            raise _invalid_row(violations, self._num_wrong, self._terms, note)
        if not self._count:
            raise InvalidUpload(
                f"The file has no rows. Write one row for each image of data set '{self._layout.dataset}'.",
                field="chunk",
            )
        answers = None if self._answers is None else self._answers.finish()
        return Predictions(self._top1, self._probability, answers=answers)

    def reordered(self) -> Predictions | None:
        """Return the predictions that the other row order gives; None if the rows name their images."""
        if not self._is_numbered:
            return None
        positions, other_positions = map(self._layout.positions, row_orders(self._order))
        top1 = np.empty_like(self._top1)
        top1[other_positions] = self._top1[positions]
        return Predictions(top1)

    def _check_other_dataset(self, violations: list[Violation]) -> None:
        """Raise InvalidRow if another data set has the unknown names, or if all names are unknown."""
        unknown, total = self._num_unknown, self._count
        names = "The only file name is not" if total == 1 else f"None of the {total:,} file names is"
        if unknown < total:
            names = f"{unknown:,} of the {total:,} file names are not"
        message = f"{names} in data set '{self._layout.dataset}'"
        datasets = self._layout.find_datasets(self._unknown_names)
        most = datasets[0][1] if datasets else 0
        if most > UNKNOWN_SHARE * len(self._unknown_names):
            best = [dataset for dataset, count in datasets if count == most]
            share = f" ({most:,} of {len(self._unknown_names):,} checked)" if len(self._unknown_names) > 1 else ""
            raise InvalidRow(
                f"{message}. Data set {' or '.join(map(repr, best))} has such file names{share}. Use --dataset "
                f"{best[0]}.",
                violations=violations,
            )
        if unknown == total:
            example = decode_name(self._layout.names[0].as_py())
            raise InvalidRow(
                f"{message}. Use names such as {example!r:.80}, or choose another data set with --dataset.",
                violations=violations,
            )

    def _find_images(self, block: NamedRows) -> NDArray[np.int64]:
        """Return the image of each row, (n,); negative for an unknown or ambiguous name."""
        if block.is_numbered:
            return self._find_numbered_images(block)
        names, image_names = block.names, self._layout.names
        if self._is_aligned and names.equals(image_names.slice(self._count, len(names))):
            return np.arange(self._count, self._count + len(names))
        self._is_aligned = False
        images = index_in(names, image_names)
        unknown = np.flatnonzero(images < 0)
        if not len(unknown):
            return images
        index = self._index = self._index or NameIndex(image_names)
        images[unknown] = index.find(names.take(pa.array(unknown)))
        self._note_matches(names, unknown[images[unknown] >= 0], images)
        ambiguous, unknown = np.flatnonzero(images == AMBIGUOUS), np.flatnonzero(images == -1)
        self._num_unknown += len(unknown)
        sample = unknown[: MAX_SAMPLE - len(self._unknown_names)]
        self._unknown_names += names.take(pa.array(sample)).to_pylist()

        def describe_unknown(name: bytes) -> str:
            return describe_unknown_name(name, self._layout.dataset, index.candidates(name, MAX_CANDIDATES))

        def describe_ambiguous(name: bytes) -> str:
            return describe_ambiguous_name(name, index.candidates(name, MAX_CANDIDATES))

        self._note("file_name", describe_unknown, names, block.lines, unknown)
        self._note("file_name", describe_ambiguous, names, block.lines, ambiguous)
        return images

    def _find_numbered_images(self, block: NamedRows) -> NDArray[np.int64]:
        """Return the image of each number, (n,); -1 for a number that no image has."""
        self._is_numbered, self._is_aligned = True, False
        order, _ = row_orders(self._order)
        positions = self._layout.positions(order)
        name = "file-name" if order is RowOrder.FILE_NAME else "path"
        self._assumptions[f"The images are numbered from 0 in the order --row-order {name}."] = None
        numbers = np.array([_image_number(name, len(positions)) for name in block.names.to_pylist()], dtype=np.int64)
        wrong = np.flatnonzero(numbers < 0)
        self._note("file_name", lambda name: describe_number(name, len(positions)), block.names, block.lines, wrong)
        return np.where(numbers < 0, -1, positions[numbers])

    def _note_matches(self, names: pa.Array, rows: NDArray[np.intp], images: NDArray[np.int64]) -> None:
        """Count names that match inexactly, and store the first one."""
        self._num_matched += len(rows)
        if len(rows) and not self._matched[0]:
            row = int(rows[0])
            self._matched = names[row].as_py(), self._layout.names[int(images[row])].as_py()

    def _describe_matches(self) -> str:
        name, image = map(_shorten, self._matched)
        file, image_file = (text.replace("\\", "/").rpartition("/")[2] for text in (name, image))
        count = f"{self._num_matched:,} file names match" if self._num_matched > 1 else "1 file name matches"
        way = "without the extension"
        if file == image_file:
            way = "by the end of the path"
        elif normalize_unicode("NFC", file) == normalize_unicode("NFC", image_file):
            way = "in Unicode NFC"
        return f"{count} {way}, such as '{name}' for '{image}'."

    def _find_classes(self, block: NamedRows) -> NDArray[np.int64] | NDArray[np.int16]:
        """Return the class of each row, (n,); -1 for an unknown class."""
        classes = self._classes.parse(block.classes)
        wrong = np.flatnonzero(classes < 0)
        self._classes.count_unknown(block.classes, wrong)
        label_space = self._layout.label_space
        self._note("predicted_class", lambda name: describe_class(name, label_space), block.classes, block.lines, wrong)
        return classes

    def _find_answers(self, block: NamedRows) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return the class of each row's answer, (n,), NO_CLASS without exactly one; and the answer's number, (n,)."""
        if self._answers is None:
            create = self._layout.create_matcher or partial(AnswerMatcher, self._layout.label_space)
            self._answers = AnswerCollector(create(), len(self._top1), self._layout.is_cancelled)
        encoded = block.classes.cast(pa.string()).dictionary_encode()
        numbers = self._answers.number(encoded.dictionary.to_pylist()).take(np.asarray(encoded.indices))
        return self._answers.classes_of(numbers), numbers

    def _parse_probabilities(self, block: NamedRows) -> NDArray[np.float64] | None:
        column = block.probabilities
        if not self._missing_probabilities and self._count and (column is None) != (self._probability is None):
            self._leave_out_probabilities(SOME_MISSING)
        if column is None or self._missing_probabilities:
            return None
        if pa.types.is_string(column.type):
            try:
                values = np.asarray(column.cast(pa.float64()))
            except pa.ArrowInvalid:  # Arrow refuses the whole column if one text is not a number
                values = np.array([parse_number(text) for text in column.to_pylist()])
        elif pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
            values = np.asarray(column.cast(pa.float64(), safe=False))
        else:
            raise InvalidUpload(
                f"The probabilities have the type {column.type!s:.80}. Expected numbers from 0 to 1.",
                field="predicted_probability",
            )
        wrong = np.flatnonzero(~((values >= 0) & (values <= 1)))
        if len(wrong) and not block.is_certain:
            self._leave_out_probabilities(NOT_PROBABILITIES)
            return None
        self._note("predicted_probability", describe_probability, column, block.lines, wrong)
        return values

    def _leave_out_probabilities(self, reason: str) -> None:
        """Ignore all probabilities of the file, in previous blocks and in later ones."""
        self._missing_probabilities, self._probability = reason, None

    def _split_repeats(
        self, images: NDArray[np.int64], valid: NDArray[np.intp]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the first valid row of each image, and its other valid rows."""
        valid_images = images[valid]
        is_first = np.zeros(len(valid), dtype=bool)
        is_first[np.unique(valid_images, return_index=True)[1]] = True
        is_first &= self._top1[valid_images] == NO_PREDICTION
        return valid[is_first], valid[~is_first]

    def _note_repeats(self, block: NamedRows, images: NDArray[np.int64], repeats: NDArray[np.intp]) -> None:
        """Add violations for rows of images that have a prediction."""
        image_of = dict(zip(block.names.take(pa.array(repeats)).to_pylist(), images[repeats].tolist(), strict=True))
        line_of = np.zeros(len(self._top1), dtype=np.int64)
        for targets, lines in self._placed:
            line_of[targets] = lines

        def describe(name: object) -> str:
            image = self._layout.names[image_of[name]].as_py()
            first = f"{self._terms.row} {line_of[image_of[name]]}"
            if block.is_numbered or name == image:
                return describe_repeat(name, first)
            return describe_inexact_repeat(name, image, first)

        self._note("file_name", describe, block.names, block.lines, repeats)

    def _note(
        self,
        field: str,
        describe: Callable[[Any], str],
        column: pa.Array,
        lines: NDArray[np.int64],
        rows: NDArray[np.intp],
    ) -> None:
        """Add violations for the values of some rows, in the order of their lines."""
        self._num_wrong += len(rows)
        rows = rows[:MAX_VIOLATIONS]
        if len(self._violations) == MAX_VIOLATIONS:  # to describe an unknown class of many classes can take 0.5 s
            rows = rows[lines[rows] < (self._violations[-1].line or 0)]
        self._add_violations(Violation(field, describe(column[int(row)].as_py()), int(lines[row])) for row in rows)

    def _add_violations(self, violations: Iterable[Violation]) -> None:
        by_line = sorted([*self._violations, *violations], key=lambda violation: violation.line or 0)
        self._violations = by_line[:MAX_VIOLATIONS]


def _unused_row_order(terms: FormatTerms) -> InvalidRequest:
    return InvalidRequest(
        f"--row-order does not apply to {terms.label} files with file names. Remove --row-order; only files without "
        "file names, such as npz and npy, need it.",
        field="row_order",
    )


def _image_number(text: bytes, images: int) -> int:
    """Return the number of an image; -1 for a text that is no number of an image."""
    number = int(text) if text.isdigit() and len(text) < 10 else -1
    return number if number < images else -1


def _shorten(name: bytes) -> str:
    text = decode_name(name)
    return text if len(text) <= MAX_SHOWN_NAME else f"…{text[-MAX_SHOWN_NAME:]}"


def index_in(names: pa.Array, image_names: pa.Array) -> NDArray[np.int64]:
    """Return the index of each name among the names of the images, (n,); -1 for an unknown name."""
    return np.asarray(pc.fill_null(pc.index_in(names, value_set=image_names), -1)).astype(np.int64)


def _invalid_row(violations: list[Violation], count: int, terms: FormatTerms, note: str = "") -> InvalidRow:
    message = f"{terms.row.capitalize()} {violations[0].line}: {violations[0].description}"
    if count > 1:
        message = f"{note} {message} (and {pluralize(count - 1, 'more error')})".lstrip()
    elif note:
        message = f"{message} {note}"
    return InvalidRow(message, violations=violations)

"""Attributes of images, and the results of slices: the images with one value of an attribute."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from errata.error_types import ErrorType
from numpy.typing import NDArray

from service.domain.adjusted_test import AdjustedTest
from service.domain.class_relations import Mask


@dataclass(frozen=True)
class Slice:
    """The images with one value of an attribute."""

    attribute: str
    value: str

    @property
    def id(self) -> str:
        """Return the text that names the slice in policies, filters, and options."""
        return f"{self.attribute}={self.value}"


@dataclass(frozen=True)
class ImageAttribute:
    """An attribute of one image; an image can have several values of it."""

    attribute: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Attributes:
    """Attributes of N evaluated images, as M pairs of a slice and an image in this slice."""

    digest: str  # SHA-256 of the file, or of the digests of several files
    slices: tuple[Slice, ...]  # sorted
    slice_numbers: NDArray[np.int32]  # (M,) index of the slice, ascending
    rows: NDArray[np.int32]  # (M,) row of the image, ascending within a slice
    annotated: Mask  # (K, N) whether each image has a value of each of K attributes
    attribute_numbers: NDArray[np.int32]  # (S,) index of the attribute of each slice

    def find(self, text: str) -> int | None:
        """Return the index of a slice by its id, or by a value that only one attribute has; None if there is none."""
        ids = [item.id for item in self.slices]
        if text in ids:
            return ids.index(text)
        numbers = [number for number, item in enumerate(self.slices) if item.value == text]
        return numbers[0] if len(numbers) == 1 else None

    def mask(self, number: int) -> Mask:
        """Return the images of a slice, (N,)."""
        members = np.zeros(self.annotated.shape[1], dtype=bool)
        members[self.rows[self.slice_numbers == number]] = True
        return members

    def of_rows(self, rows: Sequence[int]) -> list[tuple[ImageAttribute, ...]]:
        """Return the attributes of images."""
        slices, starts = self._slices_by_row
        return [self._describe(slices[starts[row] : starts[row + 1]].tolist()) for row in rows]

    @cached_property
    def _slices_by_row(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the slices, (M,), ordered by image, and the position of the first slice of each image, (N + 1,)."""
        counts = np.bincount(self.rows, minlength=self.annotated.shape[1])
        return self.slice_numbers[np.argsort(self.rows, kind="stable")], np.concatenate([[0], np.cumsum(counts)])

    def _describe(self, numbers: Sequence[int]) -> tuple[ImageAttribute, ...]:
        values: dict[str, list[str]] = {}
        for number in numbers:
            values.setdefault(self.slices[number].attribute, []).append(self.slices[number].value)
        return tuple(ImageAttribute(attribute, tuple(of_attribute)) for attribute, of_attribute in values.items())


@dataclass(frozen=True)
class RateContrast:
    """A rate in a slice and in the rest (see SliceRow), compared with Fisher's exact test."""

    rate: float
    rest: float
    test: AdjustedTest


@dataclass(frozen=True)
class SliceRow:
    """The verdicts in one slice, without problematic samples.

    The rest consists of the samples that have the attribute, but not this value. If the attribute has only one value,
    the rest consists of all other samples.
    """

    slice: Slice
    num_samples: int
    num_rest: int
    counts: Mapping[ErrorType, int]
    errors: RateContrast | None  # multi-label errors; None: no samples in the slice or in the rest
    model_failures: RateContrast | None


@dataclass(frozen=True)
class SliceTable:
    """The slices of an analysis."""

    digest: str  # of the attributes
    rows: tuple[SliceRow, ...]  # the smallest adjusted p-value first


@dataclass(frozen=True)
class SliceChange:
    """The changes from A to B in one slice, among the samples that both analyses evaluated."""

    slice: Slice
    num_samples: int
    fixed: int
    broken: int
    errors_a: float  # share of samples with a multi-label error
    errors_b: float
    test: AdjustedTest  # McNemar's exact test of `broken` against `fixed`

"""Records of a comparison of two models, A and B, on the same images. Differences are B - A."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import nan

import numpy as np
from errata.error_types import (
    CORRECT_TYPES,
    ERROR_TYPES,
    MULTI_LABEL_ERROR_TYPES,
    SEVERE_TYPES,
    TOP1_CORRECT_TYPES,
    ErrorType,
)
from numpy.typing import NDArray

from service.domain.adjusted_test import AdjustedTest
from service.domain.coverage import Coverage
from service.domain.slices import SliceChange

FIXED, BROKEN = "fixed", "broken"  # changes of an image


class PairedMetric(StrEnum):
    """A binary property of an image. A comparison counts the images that have it in only one of A and B."""

    TOP1 = "top1"  # the prediction is the original label
    MULTI_LABEL = "multi_label"  # the type of the verdict counts as correct
    SEVERE = "severe"  # the type of the verdict is severe


METRIC_TYPES: Mapping[PairedMetric, tuple[ErrorType, ...]] = {  # error types with the property
    PairedMetric.TOP1: TOP1_CORRECT_TYPES,  # unless targets are rejected
    PairedMetric.MULTI_LABEL: CORRECT_TYPES,
    PairedMetric.SEVERE: SEVERE_TYPES,
}


def cross_table(transitions: NDArray[np.int64], types: Sequence[ErrorType]) -> NDArray[np.int64]:
    """Return the cross table of whether samples have any of the types, (2, 2), from the transitions (T, T)."""
    inside = np.array([error_type in types for error_type in ERROR_TYPES])
    sides = np.stack([~inside, inside]).astype(np.int64)  # (2, T)
    table: NDArray[np.int64] = sides @ transitions @ sides.T
    return table


@dataclass(frozen=True)
class PairedTest:
    """McNemar's exact test of one metric."""

    metric: PairedMetric
    only_a: int  # images with the property in A only
    only_b: int  # images with the property in B only
    p_value: float
    significant: bool  # p_value < 0.05


@dataclass(frozen=True)
class Interval:
    """A rate in A and in B, and the interval of B - A."""

    a: float
    b: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """Return B - A."""
        return self.b - self.a


@dataclass(frozen=True)
class TypeChange:
    """Change of one error type: the samples that have it in only one of A and B."""

    error_type: ErrorType
    only_a: int
    only_b: int
    share: Interval  # share of samples with the type; score interval
    test: AdjustedTest


@dataclass(frozen=True)
class GroupComparison:
    """Changes in one group, among the samples that both analyses evaluated, without problematic samples."""

    num_samples: int
    transitions: NDArray[np.int64]  # (T, T) row: type in A, in the order of the rules; column: type in B
    tests: Mapping[PairedMetric, PairedTest]
    rates: Mapping[PairedMetric, Interval]  # share of samples, by a bootstrap; empty without samples
    multi_label_accuracy: Interval | None  # mean over target classes, by a bootstrap; None: no interval
    types: Mapping[ErrorType, Interval]  # share of samples with the type, by the score test; empty without samples
    type_changes: tuple[TypeChange, ...] = ()  # error types with changes, the smallest adjusted p-value first
    multi_label_accuracy_limits: Interval | None = None  # the same rates with one-sided 95 % limits of B - A
    multi_label_accuracies: tuple[float, float] | None = None  # of A and B; None: no samples
    accuracy_against_labels: Interval | None = None  # share of samples, by a bootstrap; None: no samples
    top1_table: NDArray[np.int64] | None = None  # see `top1`; None: `top1` follows from `transitions`

    def fixed(self, error_type: ErrorType | None = None) -> int:
        """Count the images that are correct in B, but multi-label errors in A, of one type or of all types."""
        return self._count((error_type,) if error_type else MULTI_LABEL_ERROR_TYPES, CORRECT_TYPES)

    def broken(self, error_type: ErrorType | None = None) -> int:
        """Count the images that are correct in A, but multi-label errors in B, of one type or of all types."""
        return self._count(CORRECT_TYPES, (error_type,) if error_type else MULTI_LABEL_ERROR_TYPES)

    @property
    def top1(self) -> NDArray[np.int64]:
        """Return the cross table of whether the prediction is the original label, (2, 2): rows are A, columns are B."""
        return cross_table(self.transitions, TOP1_CORRECT_TYPES) if self.top1_table is None else self.top1_table

    @property
    def top1_fixed(self) -> int:
        """Count the images that are top-1 errors in A and top-1 correct in B."""
        return int(self.top1[0, 1])

    @property
    def top1_broken(self) -> int:
        """Count the images that are top-1 correct in A and top-1 errors in B."""
        return int(self.top1[1, 0])

    @property
    def class_accuracy(self) -> Interval | None:
        """Return the multi-label accuracies as class means; None without samples.

        Without an interval, its limits are NaN.
        """
        if self.multi_label_accuracy is not None or self.multi_label_accuracies is None:
            return self.multi_label_accuracy
        return Interval(*self.multi_label_accuracies, nan, nan)

    def _count(self, in_a: Sequence[ErrorType], in_b: Sequence[ErrorType]) -> int:
        rows, columns = ([error_type.position for error_type in types] for types in (in_a, in_b))
        return int(self.transitions[np.ix_(rows, columns)].sum())


@dataclass(frozen=True)
class ChangeRow:
    """Changes of the samples whose target is one class, or is in one superclass, without problematic samples.

    `test` compares `broken` with `fixed`. Its p-value is adjusted for all rows of one table.
    """

    name: str
    class_index: int | None  # None: the row of a superclass
    num_samples: int
    fixed: int
    broken: int
    errors: Interval  # share of samples with a multi-label error; score interval, unadjusted
    test: AdjustedTest


@dataclass(frozen=True)
class ChangedImage:
    """An image that is an error in only one of A and B."""

    file_name: str
    target: int
    predicted_a: int
    predicted_b: int
    type_a: ErrorType
    type_b: ErrorType
    effective_target: int  # the first label if the labels reject the target


@dataclass(frozen=True)
class Comparison:
    """Comparison of two analyses of the same images with the same evidence."""

    id_a: str
    id_b: str
    title_a: str
    title_b: str
    dataset: str
    evidence: str
    abstained: tuple[ErrorType, ...]
    num_left_out: int  # samples that only one of the analyses evaluated
    groups: Mapping[str, GroupComparison]
    classes: Mapping[str, tuple[ChangeRow, ...]]  # classes with changes, the smallest adjusted p-value first
    superclasses: Mapping[str, tuple[ChangeRow, ...]]
    fixed: tuple[ChangedImage, ...]  # the severe errors of A come first
    broken: tuple[ChangedImage, ...]  # the severe errors of B come first
    slices: tuple[SliceChange, ...] = ()  # slices with changes, the smallest adjusted p-value first
    attributes: str = ""  # digest of the attributes; empty: the data set has none
    num_rejected_targets: int = 0  # compared samples whose labels reject the target
    coverages: tuple[Coverage | None, Coverage | None] = (None, None)  # of A and B; None: unknown
    owners: tuple[str, str] = ("", "")  # of A and B; empty: unknown


@dataclass(frozen=True)
class ChangeQuery:
    """A selection of images. An empty text sets no condition."""

    change: str = ""  # `fixed`, `broken`, or `FROM:TO` with the keys of two error types
    class_id: str = ""  # ID of the ground truth
    superclass: str = ""  # of the ground truth


@dataclass(frozen=True)
class SelectedImages:
    """The images that have the selected change."""

    change: str  # as in ChangeQuery
    count: int
    images: tuple[ChangedImage, ...]  # the first ones


@dataclass(frozen=True)
class ImageChanges:
    """The images of a comparison that a query selects."""

    query: ChangeQuery
    transitions: NDArray[np.int64]  # (T, T); row: type in A; column: type in B
    selections: tuple[SelectedImages, ...]  # broken and fixed images, or those with the queried change
    classes: tuple[str, ...]  # IDs of all classes with fixed or broken images, in the order of the label space

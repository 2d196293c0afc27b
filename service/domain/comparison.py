"""Records of a comparison of two models, A and B, on the same images. Differences are B - A."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from errata.enums import ErrorType, Group
from numpy.typing import NDArray


class PairedMetric(StrEnum):
    """Binary property of an image that is compared between A and B."""

    TOP1 = "top1"  # the prediction is the original label
    MULTI_LABEL = "multi_label"  # the verdict has a type from 1 to 3
    SEVERE = "severe"  # the verdict has type 8


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
    """A rate in A and in B, and the 95 % interval of B - A from a paired bootstrap over images."""

    a: float
    b: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """Return B - A."""
        return self.b - self.a


@dataclass(frozen=True)
class GroupComparison:
    """Changes in one group, among the samples that both analyses evaluated, without problematic samples."""

    num_samples: int
    transitions: NDArray[np.int64]  # (8, 8) row: type in A, 1 to 8; column: type in B
    tests: Mapping[PairedMetric, PairedTest]
    rates: Mapping[PairedMetric, Interval]  # share of samples; empty without samples
    multi_label_accuracy: Interval | None  # mean over target classes; None: no samples
    types: Mapping[ErrorType, Interval]  # share of samples with the type, unadjusted; empty without samples

    def fixed(self, error_type: ErrorType | None = None) -> int:
        """Count the images that are errors in A (of one type, or of types 4 to 8) and correct in B (types 1 to 3)."""
        rows = slice(3, 8) if error_type is None else error_type - 1
        return int(self.transitions[rows, :3].sum())

    def broken(self, error_type: ErrorType | None = None) -> int:
        """Count the images that are correct in A (types 1 to 3) and errors in B (of one type, or of types 4 to 8)."""
        columns = slice(3, 8) if error_type is None else error_type - 1
        return int(self.transitions[:3, columns].sum())

    @property
    def top1_fixed(self) -> int:
        """Count the images that are top-1 errors in A and top-1 correct in B."""
        return int(self.transitions[1:, 0].sum())

    @property
    def top1_broken(self) -> int:
        """Count the images that are top-1 correct in A and top-1 errors in B."""
        return int(self.transitions[0, 1:].sum())


@dataclass(frozen=True)
class ChangeRow:
    """Changes by target: the samples of one class or of one superclass, without problematic samples."""

    name: str
    class_index: int | None  # None: the row of a superclass
    num_samples: int
    fixed: int
    broken: int
    errors: Interval  # share of samples with types 4 to 8, unadjusted


@dataclass(frozen=True)
class ChangedImage:
    """An image that is an error in only one of A and B."""

    file_name: str
    target: int
    predicted_a: int
    predicted_b: int
    type_a: ErrorType
    type_b: ErrorType


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
    groups: Mapping[Group, GroupComparison]
    classes: tuple[ChangeRow, ...]  # classes with changes
    superclasses: tuple[ChangeRow, ...]
    fixed: tuple[ChangedImage, ...]  # severe errors of A first
    broken: tuple[ChangedImage, ...]  # severe errors of B first

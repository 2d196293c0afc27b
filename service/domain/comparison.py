"""What changed between two models' verdicts on the same images, A and B; differences are A - B (spec/statistics)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from errata.enums import ErrorType, Group
from numpy.typing import NDArray


class PairedMetric(StrEnum):
    """What is asked of each image; one test and one interval each."""

    TOP1 = "top1"  # the original label is predicted
    MULTI_LABEL = "multi_label"  # types 1 to 3
    SEVERE = "severe"  # type 8


@dataclass(frozen=True)
class PairedTest:
    """McNemar's exact test of one question."""

    metric: PairedMetric
    only_a: int  # images of which it is true in A alone
    only_b: int
    p_value: float
    significant: bool  # at 0.05


@dataclass(frozen=True)
class Interval:
    """A rate in A and in B, and a 95 % interval of the difference A - B, from a paired bootstrap over images."""

    a: float
    b: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """Return A - B."""
        return self.a - self.b


@dataclass(frozen=True)
class GroupComparison:
    """What changed among the samples of one group that both judged; none of them problematic."""

    num_samples: int
    transitions: NDArray[np.int64]  # (8, 8) row: type in A, 1 to 8; column: type in B
    tests: Mapping[PairedMetric, PairedTest]
    rates: Mapping[PairedMetric, Interval]  # share of the samples; empty without samples
    multi_label_accuracy: Interval | None  # mean over target classes; None without samples
    types: Mapping[ErrorType, Interval]  # share of the samples with the type, unadjusted; empty without samples

    def fixed(self, error_type: ErrorType | None = None) -> int:
        """Return how many errors of A, of one type or all (4 to 8), are correct in B (1 to 3)."""
        rows = slice(3, 8) if error_type is None else error_type - 1
        return int(self.transitions[rows, :3].sum())

    def broken(self, error_type: ErrorType | None = None) -> int:
        """Return how many images that are correct in A (1 to 3) are errors in B, of one type or all (4 to 8)."""
        columns = slice(3, 8) if error_type is None else error_type - 1
        return int(self.transitions[:3, columns].sum())

    @property
    def top1_fixed(self) -> int:
        """Return how many top-1 errors of A have B's prediction right."""
        return int(self.transitions[1:, 0].sum())

    @property
    def top1_broken(self) -> int:
        """Return how many images whose label A predicts B doesn't."""
        return int(self.transitions[0, 1:].sum())


@dataclass(frozen=True)
class ChangeRow:
    """What changed among the samples whose target is one class, or is in one superclass; none of them problematic."""

    name: str
    class_index: int | None  # None: a superclass
    num_samples: int
    fixed: int
    broken: int
    errors: Interval  # share of the samples with an error, types 4 to 8; unadjusted


@dataclass(frozen=True)
class ChangedImage:
    """One image on whose being an error A and B differ."""

    file_name: str
    target: int
    predicted_a: int
    predicted_b: int
    type_a: ErrorType
    type_b: ErrorType


@dataclass(frozen=True)
class Comparison:
    """Two analyses of the same images, judged with the same evidence."""

    id_a: str
    id_b: str
    title_a: str
    title_b: str
    dataset: str
    evidence: str
    abstained: tuple[ErrorType, ...]
    num_left_out: int  # samples that only one of them judged
    groups: Mapping[Group, GroupComparison]
    classes: tuple[ChangeRow, ...]  # those on which they differ
    superclasses: tuple[ChangeRow, ...]
    fixed: tuple[ChangedImage, ...]  # what is severe in A first
    broken: tuple[ChangedImage, ...]  # what is severe in B first

"""Findings of the input checks. An upload with a finding is implausible."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PermutedClasses:
    """Predictions whose class indices seem to follow another order of the classes."""

    top1_accuracy: float
    coverage: float  # share of the samples that a one-to-one mapping of classes makes correct
    shift: int | None  # predicted class minus target, if one difference explains most covered samples


@dataclass(frozen=True)
class ReorderedRows:
    """Rows without file names whose predictions fit the images far better in the other row order."""

    top1_accuracy: float
    other_accuracy: float

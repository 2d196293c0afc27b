"""Findings of the input checks, which make an upload implausible."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PermutedClasses:
    """Predictions whose classes seem to be numbered in another way."""

    top1_accuracy: float
    coverage: float  # share of the samples that a one-to-one mapping of classes makes correct
    shift: int | None  # predicted class minus target, if one difference covers half of the samples; else None


@dataclass(frozen=True)
class ReorderedRows:
    """Rows without file names that fit the images far better in the other order."""

    top1_accuracy: float
    other_accuracy: float

"""How sure a model was, and how often it was right then (spec/statistics: "calibration")."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bin:
    """The samples whose probability lies in one of the bins of equal width."""

    low: float
    high: float
    num_samples: int
    confidence: float | None  # mean probability; None without samples
    top1_accuracy: float | None
    multi_label_accuracy: float | None  # share of the samples with types 1 to 3


@dataclass(frozen=True)
class Calibration:
    """The bins, and the expected calibration errors: how far confidence is from accuracy, weighed by samples."""

    bins: tuple[Bin, ...]
    top1_error: float | None  # None without samples
    multi_label_error: float | None

"""Records of a calibration: confidence and accuracy per bin (spec/statistics: "calibration")."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bin:
    """Samples whose probability is in one of the bins of equal width."""

    low: float
    high: float
    num_samples: int
    confidence: float | None  # mean probability of the predicted class; None: no samples
    top1_accuracy: float | None
    multi_label_accuracy: float | None  # share of samples whose type counts as correct


@dataclass(frozen=True)
class Calibration:
    """Bins and expected calibration errors: mean distances of confidence from accuracy, weighted by samples per bin."""

    bins: tuple[Bin, ...]
    top1_error: float | None  # None: no samples
    multi_label_error: float | None

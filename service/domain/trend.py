"""Where models stand among others of their accuracy (spec/statistics: "trend axis", "percentile at equal accuracy")."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from errata.enums import ErrorType, Group
from numpy.typing import NDArray


class Metric(StrEnum):
    """What is followed over accuracy: portions of the top-1 errors, and multi-label accuracy."""

    CLASS_OVERLAP = "CLASS_OVERLAP"
    MULTI_LABEL = "MULTI_LABEL"
    FINE_GRAINED = "FINE_GRAINED"
    FINE_GRAINED_OOV = "FINE_GRAINED_OOV"
    SPURIOUS_CORRELATION = "SPURIOUS_CORRELATION"
    NON_PROTOTYPICAL = "NON_PROTOTYPICAL"
    MODEL_FAILURE = "MODEL_FAILURE"
    POOLED = "POOLED"  # types 5 to 8 together, where a rule among them abstained
    MULTI_LABEL_ACCURACY = "MULTI_LABEL_ACCURACY"


PORTIONS: Mapping[Metric, tuple[ErrorType, ...]] = {
    **{Metric(item.name): (item,) for item in tuple(ErrorType)[2:]},
    Metric.POOLED: tuple(ErrorType)[5:],
}
QUANTILES = np.arange(1, 100) / 100


class NoReferenceReason(StrEnum):
    """Why a model has no percentile."""

    DATASET = "dataset"  # nothing is published of this data set
    ACCURACY = "accuracy"  # it lies outside of the published models' accuracies
    FEW = "few"  # fewer than 20 published models are near
    NO_VALUE = "no_value"  # it has no errors


@dataclass(frozen=True)
class Fit:
    """A straight line through models: value = intercept + slope * top-1 accuracy, by least squares."""

    num_models: int
    slope: float
    intercept: float
    r_squared: float | None  # None where all values are equal

    def at(self, accuracy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the line's values at accuracies."""
        return self.intercept + self.slope * accuracy


@dataclass(frozen=True)
class Curves:
    """How the published models of one data set spread, at accuracies half a point apart."""

    dataset: str
    num_models: int
    lowest: float  # top-1 accuracy of the published models, fractions of 1
    highest: float
    knots: NDArray[np.float64]  # (K,) top-1 accuracies
    quantiles: Mapping[tuple[Group, Metric], NDArray[np.float32]]  # (K, 99) the 1 to 99 % quantiles; NaN: too few
    fits: Mapping[tuple[Group, Metric], Fit]


@dataclass(frozen=True)
class PercentileRank:
    """Where one model stands: the share of published models of its accuracy that have a lower value."""

    metric: Metric
    value: float | None
    percentile: float | None  # fraction of 1
    missing: NoReferenceReason | None  # why there is no percentile


@dataclass(frozen=True)
class TrendPoint:
    """One model of a trend; rates are those of the trend's group, the accuracy is that over all samples."""

    id: str  # of the analysis; empty: a published model
    title: str
    label: str  # what it is told apart by; empty: it has none
    asked: bool  # whether it was asked for by name
    top1_accuracy: float
    values: Mapping[Metric, float]  # those that exist
    standings: tuple[PercentileRank, ...] = ()


@dataclass(frozen=True)
class LabelFit:
    """The models with one label: their own line, and how far they lie above what is usual at their accuracy."""

    metric: Metric
    label: str  # empty: all models
    fit: Fit | None  # None: fewer than three models, or one accuracy
    num_models: int
    shift: float | None  # mean difference from the published median, or from the line through all, at equal accuracy


@dataclass(frozen=True)
class Trend:
    """Models over their accuracy, and the published ones that they are held against."""

    dataset: str
    evidence: str
    group: Group
    by: str  # the label that tells models apart; empty: none
    points: tuple[TrendPoint, ...]
    fits: tuple[LabelFit, ...]
    curves: Curves | None  # None: nothing is published of the data set
    abstained: tuple[ErrorType, ...]
    own_superclasses: bool  # the bundle's superclasses aren't the authors': fine-grained counts differ from theirs
    num_left_out: int  # stored analyses of the data set that were judged with other evidence

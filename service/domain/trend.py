"""Records of trends: metrics over accuracy, and percentiles among reference models (spec/statistics)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from errata.enums import Group
from errata.error_types import ABSTAINING_TYPES, ERROR_TYPES, TOP1_ERROR_TYPES, ErrorType
from numpy.typing import NDArray

Metric: TypeAlias = str  # name of a metric in the API: an error type (a portion of the top-1 errors), or one of these
POOLED = "pooled"  # the types from the first one whose rule can abstain; used if a rule abstained
MULTI_LABEL_ACCURACY = "multi_label_accuracy"
PORTIONS: Mapping[Metric, tuple[ErrorType, ...]] = {
    **{error_type.key: (error_type,) for error_type in TOP1_ERROR_TYPES},
    POOLED: ERROR_TYPES[ABSTAINING_TYPES[0].position :],
}
METRICS: tuple[Metric, ...] = (*PORTIONS, MULTI_LABEL_ACCURACY)
QUANTILES = np.arange(1, 100) / 100


class NoReferenceReason(StrEnum):
    """Reason why a model has no percentile."""

    DATASET = "dataset"  # no published models for this data set
    ACCURACY = "accuracy"  # the accuracy is outside the range of the published models
    FEW = "few"  # fewer than 20 published models have a similar accuracy
    NO_VALUE = "no_value"  # the model has no errors


@dataclass(frozen=True)
class Fit:
    """Least-squares line through models: value = intercept + slope * top-1 accuracy."""

    num_models: int
    slope: float
    intercept: float
    r_squared: float | None  # None: all values are equal

    def predict(self, accuracy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values of the line at the given accuracies."""
        return self.intercept + self.slope * accuracy


@dataclass(frozen=True)
class Curves:
    """Quantiles and fits of the published models of one data set, at accuracies 0.5 points apart."""

    dataset: str
    num_models: int
    lowest: float  # lowest top-1 accuracy of the published models, a fraction of 1
    highest: float
    knots: NDArray[np.float64]  # (K,) top-1 accuracies
    quantiles: Mapping[tuple[Group, Metric], NDArray[np.float32]]  # (K, 99) 1 to 99 % quantiles; NaN: too few models
    fits: Mapping[tuple[Group, Metric], Fit]


@dataclass(frozen=True)
class PercentileRank:
    """Percentile of a model: the share of published models with similar accuracy that have a lower value."""

    metric: Metric
    value: float | None
    percentile: float | None  # fraction of 1
    missing: NoReferenceReason | None  # reason why there is no percentile


@dataclass(frozen=True)
class TrendPoint:
    """One model of a trend. Values are those of the trend's group; the accuracy is over all samples."""

    id: str  # id of the analysis; empty: a published model
    title: str
    label: str  # value of the grouping label; empty: none
    is_selected: bool  # whether the request names the analysis
    top1_accuracy: float
    values: Mapping[Metric, float]
    percentile_ranks: tuple[PercentileRank, ...] = ()


@dataclass(frozen=True)
class LabelFit:
    """Models with one label: their line, and their mean distance from the reference at equal accuracy."""

    metric: Metric
    label: str  # empty: all models
    fit: Fit | None  # None: fewer than three models, or one accuracy
    num_models: int
    shift: float | None  # mean difference from the published median, or from the line through all models


@dataclass(frozen=True)
class Trend:
    """Metrics of models over their accuracy, and the published models as reference."""

    dataset: str
    evidence: str
    group: Group
    by: str  # label key that models are grouped by; empty: none
    points: tuple[TrendPoint, ...]
    fits: tuple[LabelFit, ...]
    curves: Curves | None  # None: no published models for the data set
    abstained: tuple[ErrorType, ...]
    own_superclasses: bool  # the superclasses differ from the authors', so fine-grained counts are not comparable
    num_left_out: int  # stored analyses of the data set with other evidence or implausible predictions

"""Records of trends: metrics over accuracy, and percentiles among reference models (spec/statistics)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from errata.error_types import (
    ABSTAINING_TYPES,
    CORRECT_TYPES,
    ERROR_TYPES,
    MULTI_LABEL_ERROR_TYPES,
    TOP1_ERROR_TYPES,
    ErrorType,
)
from errata.groups import ALL
from numpy.typing import NDArray

Metric: TypeAlias = str  # name of a metric in the API: an error type (a portion of errors), or one of these
POOLED = "pooled"  # the first type whose rule can abstain and all later types; used if a rule abstained
MULTI_LABEL_ACCURACY = "multi_label_accuracy"
QUANTILES = np.arange(1, 100) / 100
NEAREST_MODELS = 50  # reference models with the most similar accuracy
MAX_DISTANCE = 0.025  # maximum difference between their accuracy and that of the model
MIN_NEIGHBORS = 20  # minimum number of reference models for a percentile


class Axis(StrEnum):
    """An accuracy over all samples. It is the horizontal axis of a metric and determines which models are similar."""

    TOP1 = "top1_accuracy"
    MULTI_LABEL = "multi_label_accuracy"


@dataclass(frozen=True)
class Portion:
    """A metric that is the share of some error types among all errors (spec/statistics: "trend axes")."""

    types: tuple[ErrorType, ...]
    errors: tuple[ErrorType, ...]  # the denominator: all top-1 errors, or all multi-label errors

    @property
    def axis(self) -> Axis:
        """Return the accuracy that counts the same errors as the portion."""
        return Axis.TOP1 if self.errors is TOP1_ERROR_TYPES else Axis.MULTI_LABEL


def _portion(*types: ErrorType) -> Portion:
    """Return the portion of types among multi-label errors, or among top-1 errors if these types count as correct."""
    return Portion(types, TOP1_ERROR_TYPES if types[0] in CORRECT_TYPES else MULTI_LABEL_ERROR_TYPES)


PORTIONS: Mapping[Metric, Portion] = {
    **{error_type.key: _portion(error_type) for error_type in TOP1_ERROR_TYPES},
    POOLED: _portion(*ERROR_TYPES[ABSTAINING_TYPES[0].position :]),
}
METRICS: tuple[Metric, ...] = (*PORTIONS, MULTI_LABEL_ACCURACY)
AXES: Mapping[Metric, Axis] = {
    **{metric: portion.axis for metric, portion in PORTIONS.items()},
    MULTI_LABEL_ACCURACY: Axis.TOP1,
}


def name_portion_base(metric: Metric, has_rejected_targets: bool) -> str:
    """Return the errors that a metric is a portion of, as named in the API; empty for an accuracy."""
    if metric not in PORTIONS:
        return ""
    if PORTIONS[metric].axis is Axis.MULTI_LABEL:
        return "multi_label_errors"
    return "all_errors" if has_rejected_targets else "top1_errors"


class NoReferenceReason(StrEnum):
    """Reason why a model has no percentile."""

    DATASET = "dataset"  # no reference models for this data set
    SUPERCLASSES = "superclasses"  # the metric depends on superclasses, which may differ from those of the paper
    ACCURACY = "accuracy"  # the accuracy is outside the range of the reference models
    FEW = "few"  # fewer than 20 reference models have a similar accuracy
    NO_VALUE = "no_value"  # the model has no errors
    INDISTINCT = "indistinct"  # the interval of the percentile spans more than half of the scale


@dataclass(frozen=True)
class Fit:
    """Least-squares line through models: value = intercept + slope * accuracy on the metric's axis."""

    num_models: int
    slope: float
    intercept: float
    r_squared: float | None  # None: all values are equal

    def predict(self, accuracy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values of the line at the given accuracies."""
        return self.intercept + self.slope * accuracy


@dataclass(frozen=True)
class AxisRange:
    """Range of the published models on one axis, with knots 0.5 points apart. Accuracies are fractions of 1."""

    lowest: float
    highest: float
    knots: NDArray[np.float64]  # (K,)


@dataclass(frozen=True)
class Curves:
    """Quantiles and fits of the published models of one data set."""

    dataset: str
    num_models: int
    axes: Mapping[Axis, AxisRange]
    quantiles: Mapping[tuple[str, Metric], NDArray[np.float32]]  # (K, 99) 1 to 99 % quantiles; NaN: too few models
    fits: Mapping[tuple[str, Metric], Fit]


@dataclass(frozen=True)
class PercentileRank:
    """Percentile of a model: the share of reference models with similar accuracy that have a lower value."""

    metric: Metric
    value: float | None
    percentile: float | None  # fraction of 1
    missing: NoReferenceReason | None  # reason why there is no percentile
    low: float | None = None  # 95 % interval of the percentile; None: no percentile could be computed
    high: float | None = None


@dataclass(frozen=True)
class TrendPoint:
    """One model of a trend. Values are those of the trend's group; accuracies are over all samples."""

    id: str  # id of the analysis; empty: a published model
    title: str
    label: str  # value of the grouping label; empty: none
    is_selected: bool  # whether the request selects the analysis
    accuracies: Mapping[Axis, float]
    values: Mapping[Metric, float]
    percentile_ranks: tuple[PercentileRank, ...] = ()
    num_analyses: int = 1  # stored analyses of this version of the model
    intervals: Mapping[Metric, tuple[float, float]] = field(default_factory=dict)  # 95 %; only of portions
    coverage: float | None = None  # share of the evaluated images that have a prediction; None: unknown
    owner: str = ""  # empty: unknown


@dataclass(frozen=True)
class LabelFit:
    """Fit of the models with one label: their line, and their mean distance from the reference at equal accuracy."""

    metric: Metric
    label: str  # empty: all models
    fit: Fit | None  # None: the models have fewer than three different accuracies
    num_models: int
    shift: float | None  # mean difference from the published median, or from the line through all models


@dataclass(frozen=True)
class Trend:
    """Metrics of models over their accuracy. The reference is the published models, or else other own models."""

    dataset: str
    evidence: str
    group: str
    by: str  # label key that models are grouped by; empty: none
    points: tuple[TrendPoint, ...]
    fits: tuple[LabelFit, ...]
    curves: Curves | None  # None: no published models for the data set, or for the labels of the evidence
    abstained: tuple[ErrorType, ...]
    own_superclasses: bool  # the superclasses may differ from the authors': types that depend on them have no reference
    num_left_out: int  # stored analyses of the data set with other evidence or implausible predictions
    num_older: int = 0  # models that are not shown because there are more than the limit
    groups: tuple[str, ...] = (ALL,)  # of the data set
    num_other_models: int = 0  # own models that a model is compared with, if there are no published models
    axes: Mapping[Metric, Axis] = field(default_factory=lambda: AXES)  # the accuracy that each metric is plotted over
    label_keys: tuple[str, ...] = ()  # of the analyses, sorted
    # Whether published models exist, but were evaluated with other labels than the evidence has; None: unknown
    changed_labels: bool | None = False
    has_rejected_targets: bool = False  # whether the number of top-1 errors is not that of the errors by type
    without_images: tuple[str, ...] = ()  # titles of requested analyses that have no evaluated image with a prediction
    owner: str = ""  # of the stored analyses that are not requested; empty: any

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Return the metrics of the trend. Without published models, metrics without values are left out."""
        metrics = (metric for metric in METRICS if metric in self.axes and (metric != POOLED or self.abstained))
        if self.curves is not None:
            return tuple(metrics)
        return tuple(metric for metric in metrics if any(metric in point.values for point in self.points))

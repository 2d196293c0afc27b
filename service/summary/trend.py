"""Trend: where models stand among others of their accuracy (spec/statistics: "trend axis", "percentile …")."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from service.domain import (
    PORTIONS,
    QUANTILES,
    TOP1_ERROR_TYPES,
    Curves,
    ErrorType,
    Fit,
    Group,
    GroupSummary,
    LabelFit,
    Metric,
    NoReferenceReason,
    PercentileRank,
    TrendPoint,
)

FEWEST = 3  # models of a fit


def metric_values(counts: Mapping[ErrorType, int], multi_label_accuracy: float | None) -> dict[Metric, float]:
    """Return what is followed of one model in one group: portions of its top-1 errors, and its accuracy."""
    errors = sum(count for each, count in counts.items() if each > ErrorType.CORRECT)
    result = {metric: sum(counts[type_] for type_ in types) / errors for metric, types in PORTIONS.items() if errors}
    if multi_label_accuracy is not None:
        result[Metric.MULTI_LABEL_ACCURACY] = multi_label_accuracy
    return result


def group_metric_values(summary: GroupSummary) -> dict[Metric, float]:
    """Return what is followed of an analysis' group."""
    return metric_values(summary.counts, summary.multi_label_accuracy)


def allowed_metrics(abstained: Sequence[ErrorType]) -> tuple[Metric, ...]:
    """Return the metrics that may be held against the published models.

    A type may if it and every rule before it had its evidence; where one among types 5 to 8 hadn't, they are pooled.
    """
    first = min(abstained, default=None)
    kept = [Metric(error_type.name) for error_type in TOP1_ERROR_TYPES if first is None or error_type < first]
    pooled = [] if first is None else [Metric.POOLED]
    return (*kept, *pooled, Metric.MULTI_LABEL_ACCURACY)


def percentile_ranks_of(
    curves: Curves, group: Group, accuracy: float, values: Mapping[Metric, float], abstained: Sequence[ErrorType]
) -> tuple[PercentileRank, ...]:
    """Return where a model stands among the published ones of its accuracy (over all samples)."""
    result = []
    for metric in allowed_metrics(abstained):
        value = values.get(metric)
        if value is None:
            result.append(PercentileRank(metric, None, None, NoReferenceReason.NO_VALUE))
        elif not curves.lowest <= accuracy <= curves.highest:
            result.append(PercentileRank(metric, value, None, NoReferenceReason.ACCURACY))
        else:
            quantiles = quantiles_at(curves.knots, curves.quantiles[group, metric], accuracy)
            if quantiles is None:
                result.append(PercentileRank(metric, value, None, NoReferenceReason.FEW))
            else:
                result.append(PercentileRank(metric, value, percentile_of(quantiles, value), None))
    return tuple(result)


def quantiles_at(
    knots: NDArray[np.float64], quantiles: NDArray[np.float32], accuracy: float
) -> NDArray[np.float32] | None:
    """Return the 1 to 99 % quantiles at an accuracy, (99,), between its two knots; None where there are too few."""
    place = float(np.interp(accuracy, knots, np.arange(len(knots))))
    low = int(place)
    high = min(low + 1, len(knots) - 1)
    part = place - low
    if np.isnan(quantiles[low, 0]) or (part > 0 and np.isnan(quantiles[high, 0])):
        return None
    result = quantiles[low].astype(np.float64)
    if part > 0:
        result = (1 - part) * result + part * quantiles[high]
    rounded: NDArray[np.float32] = result.astype(np.float32)
    return rounded


def percentile_of(quantiles: NDArray[np.float32], value: float) -> float:
    """Return the share of models with a lower value, ties count half, from their 1 to 99 % quantiles, (99,).

    What is equal as a 32-bit number is a tie.
    """
    rounded = quantiles.astype(np.float32)
    lower = int(np.searchsorted(rounded, np.float32(value), "left"))
    upper = int(np.searchsorted(rounded, np.float32(value), "right"))
    return (lower + upper + 1) / (2 * (len(quantiles) + 1))


def fit_line(accuracy: NDArray[np.float64], values: NDArray[np.float64]) -> Fit | None:
    """Return the line through n models by least squares, (n,) both; None for fewer than three, or one accuracy."""
    if len(accuracy) < FEWEST or np.ptp(accuracy) == 0:
        return None
    centered = accuracy - accuracy.mean()
    slope = float((centered * (values - values.mean())).sum() / (centered**2).sum())
    intercept = float(values.mean() - slope * accuracy.mean())
    spread = float(((values - values.mean()) ** 2).sum())
    rest = float(((values - intercept - slope * accuracy) ** 2).sum())
    same = np.ptp(values) == 0
    return Fit(len(accuracy), 0.0 if same else slope, intercept, None if same else 1 - rest / spread)


def fits_of(
    points: Sequence[TrendPoint],
    metrics: Sequence[Metric],
    labels: Sequence[str],
    curves: Curves | None = None,
    group: Group = Group.ALL,
) -> tuple[LabelFit, ...]:
    """Return the line through all models and through those with each of the labels, for each metric.

    A label's shift is held against the published models' median at each accuracy, or against the line through all
    models where none are published.
    """
    accuracy = np.array([point.top1_accuracy for point in points])
    of_label = {label: np.array([point.label == label for point in points], dtype=bool) for label in labels}
    result: list[LabelFit] = []
    for metric in metrics:
        values = np.array([point.values.get(metric, np.nan) for point in points])
        known = ~np.isnan(values)
        overall = fit_line(accuracy[known], values[known])
        result.append(LabelFit(metric, "", overall, int(known.sum()), None))
        usual = _usual(accuracy, metric, overall, curves, group)
        for label, own in of_label.items():
            chosen = known & own
            if not chosen.any():
                continue
            apart = (values - usual)[chosen]
            shift = float(np.nanmean(apart)) if not np.isnan(apart).all() else None
            line = fit_line(accuracy[chosen], values[chosen])
            result.append(LabelFit(metric, label, line, int(chosen.sum()), shift))
    return tuple(result)


def _usual(
    accuracy: NDArray[np.float64], metric: Metric, overall: Fit | None, curves: Curves | None, group: Group
) -> NDArray[np.float64]:
    """Return what is usual at accuracies, (n,); NaN where nothing says it."""
    if curves is not None:
        median = curves.quantiles[group, metric][:, len(QUANTILES) // 2].astype(np.float64)
        known = ~np.isnan(median)
        return np.interp(accuracy, curves.knots[known], median[known], left=np.nan, right=np.nan)
    return np.full(len(accuracy), np.nan) if overall is None else overall.predict(accuracy)


def add_percentile_ranks(point: TrendPoint, curves: Curves, group: Group, abstained: Sequence[ErrorType]) -> TrendPoint:
    """Return a point with where it stands."""
    return replace(
        point, percentile_ranks=percentile_ranks_of(curves, group, point.top1_accuracy, point.values, abstained)
    )

"""Trend: percentiles and fits of models over accuracy (spec/statistics: "trend axis", "percentile …")."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from service.domain import (
    MULTI_LABEL_ACCURACY,
    POOLED,
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

MIN_MODELS = 3  # minimum number of models for a fit


def metric_values(counts: Mapping[ErrorType, int], multi_label_accuracy: float | None) -> dict[Metric, float]:
    """Return the metrics of one model in one group: portions of its top-1 errors, and multi-label accuracy."""
    errors = sum(counts.get(error_type, 0) for error_type in TOP1_ERROR_TYPES)
    values: dict[Metric, float] = {}
    if errors:
        values = {
            metric: sum(counts.get(error_type, 0) for error_type in types) / errors
            for metric, types in PORTIONS.items()
            if any(error_type in counts for error_type in types)  # published models lack types that are newer
        }
    if multi_label_accuracy is not None:
        values[MULTI_LABEL_ACCURACY] = multi_label_accuracy
    return values


def group_metric_values(summary: GroupSummary) -> dict[Metric, float]:
    """Return the metrics of one group of an analysis."""
    return metric_values(summary.counts, summary.multi_label_accuracy)


def allowed_metrics(abstained: Sequence[ErrorType]) -> tuple[Metric, ...]:
    """Return the metrics that are comparable with the published models.

    A type is comparable if its rule and all earlier rules had evidence. If a rule abstained, the types from
    the first one whose rule can abstain are pooled.
    """
    first = min((error_type.position for error_type in abstained), default=None)
    comparable = [error_type.key for error_type in TOP1_ERROR_TYPES if first is None or error_type.position < first]
    pooled = [] if first is None else [POOLED]
    return (*comparable, *pooled, MULTI_LABEL_ACCURACY)


def percentile_ranks_of(
    curves: Curves, group: Group, accuracy: float, values: Mapping[Metric, float], abstained: Sequence[ErrorType]
) -> tuple[PercentileRank, ...]:
    """Return the percentiles of a model among the published models with similar accuracy.

    Args:
        curves: Quantiles of the published models.
        group: Group of the values.
        accuracy: Top-1 accuracy of the model over all samples.
        values: Metrics of the model in the group.
        abstained: Error types whose rules abstained.
    """
    ranks = []
    for metric in allowed_metrics(abstained):
        if (group, metric) not in curves.quantiles:  # a type that the published models lack
            continue
        value = values.get(metric)
        if value is None:
            ranks.append(PercentileRank(metric, None, None, NoReferenceReason.NO_VALUE))
        elif not curves.lowest <= accuracy <= curves.highest:
            ranks.append(PercentileRank(metric, value, None, NoReferenceReason.ACCURACY))
        else:
            quantiles = quantiles_at(curves.knots, curves.quantiles[group, metric], accuracy)
            if quantiles is None:
                ranks.append(PercentileRank(metric, value, None, NoReferenceReason.FEW))
            else:
                ranks.append(PercentileRank(metric, value, percentile_of(quantiles, value), None))
    return tuple(ranks)


def quantiles_at(
    knots: NDArray[np.float64], quantiles: NDArray[np.float32], accuracy: float
) -> NDArray[np.float32] | None:
    """Return the 1 to 99 % quantiles at an accuracy by linear interpolation.

    Args:
        knots: (K,) top-1 accuracies.
        quantiles: (K, 99) quantiles at the knots; NaN: too few models.
        accuracy: Top-1 accuracy.

    Returns:
        (99,) quantiles; None if there are too few models.
    """
    position = float(np.interp(accuracy, knots, np.arange(len(knots))))
    low = int(position)
    high = min(low + 1, len(knots) - 1)
    fraction = position - low
    if np.isnan(quantiles[low, 0]) or (fraction > 0 and np.isnan(quantiles[high, 0])):
        return None
    interpolated = quantiles[low].astype(np.float64)
    if fraction > 0:
        interpolated = (1 - fraction) * interpolated + fraction * quantiles[high]
    rounded: NDArray[np.float32] = interpolated.astype(np.float32)
    return rounded


def percentile_of(quantiles: NDArray[np.float32], value: float) -> float:
    """Return the share of models with a lower value; ties count half.

    Values that are equal as 32-bit numbers are ties.

    Args:
        quantiles: (99,) 1 to 99 % quantiles of the models.
        value: Value of the model.
    """
    rounded = quantiles.astype(np.float32)
    lower = int(np.searchsorted(rounded, np.float32(value), "left"))
    upper = int(np.searchsorted(rounded, np.float32(value), "right"))
    return (lower + upper + 1) / (2 * (len(quantiles) + 1))


def fit_line(accuracy: NDArray[np.float64], values: NDArray[np.float64]) -> Fit | None:
    """Fit a least-squares line through n models.

    Args:
        accuracy: (n,) top-1 accuracies.
        values: (n,) values of a metric.

    Returns:
        The fit; None for fewer than three models, or if all accuracies are equal.
    """
    if len(accuracy) < MIN_MODELS or np.ptp(accuracy) == 0:
        return None
    centered = accuracy - accuracy.mean()
    slope = float((centered * (values - values.mean())).sum() / (centered**2).sum())
    intercept = float(values.mean() - slope * accuracy.mean())
    total = float(((values - values.mean()) ** 2).sum())
    residual = float(((values - intercept - slope * accuracy) ** 2).sum())
    is_constant = np.ptp(values) == 0
    return Fit(len(accuracy), 0.0 if is_constant else slope, intercept, None if is_constant else 1 - residual / total)


def fits_of(
    points: Sequence[TrendPoint],
    metrics: Sequence[Metric],
    labels: Sequence[str],
    curves: Curves | None = None,
    group: Group = Group.ALL,
) -> tuple[LabelFit, ...]:
    """Fit a line through all models, and one through the models with each label, for each metric.

    The shift of a label is the mean difference from the median of the published models at equal accuracy. Without
    published models, it is the mean difference from the line through all models.
    """
    accuracy = np.array([point.top1_accuracy for point in points])
    label_masks = {label: np.array([point.label == label for point in points], dtype=bool) for label in labels}
    fits: list[LabelFit] = []
    for metric in metrics:
        values = np.array([point.values.get(metric, np.nan) for point in points])
        known = ~np.isnan(values)
        overall = fit_line(accuracy[known], values[known])
        fits.append(LabelFit(metric, "", overall, int(known.sum()), None))
        expected = _expected_values(accuracy, metric, overall, curves, group)
        for label, mask in label_masks.items():
            selected = known & mask
            if not selected.any():
                continue
            differences = (values - expected)[selected]
            shift = float(np.nanmean(differences)) if not np.isnan(differences).all() else None
            line = fit_line(accuracy[selected], values[selected])
            fits.append(LabelFit(metric, label, line, int(selected.sum()), shift))
    return tuple(fits)


def _expected_values(
    accuracy: NDArray[np.float64], metric: Metric, overall: Fit | None, curves: Curves | None, group: Group
) -> NDArray[np.float64]:
    """Return the reference values of a metric at accuracies (n,); NaN without reference."""
    if curves is not None and (group, metric) in curves.quantiles:
        median = curves.quantiles[group, metric][:, len(QUANTILES) // 2].astype(np.float64)
        known = ~np.isnan(median)
        return np.interp(accuracy, curves.knots[known], median[known], left=np.nan, right=np.nan)
    return np.full(len(accuracy), np.nan) if overall is None else overall.predict(accuracy)


def add_percentile_ranks(point: TrendPoint, curves: Curves, group: Group, abstained: Sequence[ErrorType]) -> TrendPoint:
    """Return a point with its percentiles."""
    return replace(
        point, percentile_ranks=percentile_ranks_of(curves, group, point.top1_accuracy, point.values, abstained)
    )

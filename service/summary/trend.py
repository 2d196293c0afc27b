"""Trend: metrics of models over accuracy, and linear fits (spec/statistics: "trend axes")."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from service.domain import (
    ALL,
    AXES,
    MULTI_LABEL_ACCURACY,
    PORTIONS,
    QUANTILES,
    Axis,
    Curves,
    Fit,
    GroupNumbers,
    LabelFit,
    Metric,
    StoredResult,
    TrendPoint,
)
from service.summary.score_interval import proportion_interval

MIN_ACCURACIES = 3  # minimum number of different accuracies for a fit
ROUNDING = 1e-9  # accuracies, or values of a metric, with a smaller difference are equal


def metric_values(numbers: GroupNumbers) -> dict[Metric, float]:
    """Return the metrics of one model in one group: portions of its errors, and multi-label accuracy."""
    values = {metric: count / errors for metric, (count, errors) in _portion_counts(numbers).items()}
    if numbers.multi_label_accuracy is not None:
        values[MULTI_LABEL_ACCURACY] = numbers.multi_label_accuracy
    return values


def metric_intervals(numbers: GroupNumbers) -> dict[Metric, tuple[float, float]]:
    """Return the 95 % score intervals of the portions of one model in one group."""
    return {metric: proportion_interval(*counts) for metric, counts in _portion_counts(numbers).items()}


def _portion_counts(numbers: GroupNumbers) -> dict[Metric, tuple[int, int]]:
    """Return the numerator and denominator of each portion, in errors. Portions with the denominator 0 are omitted."""
    counts = numbers.counts
    portions = {}
    for metric, portion in PORTIONS.items():
        errors = sum(counts.get(error_type, 0) for error_type in portion.errors)
        # Published models have no counts of types that were added later.
        if errors and any(error_type in counts for error_type in portion.types):
            portions[metric] = (sum(counts.get(error_type, 0) for error_type in portion.types), errors)
    return portions


def accuracies_of(result: StoredResult) -> Mapping[Axis, float] | None:
    """Return the accuracies of an analysis over all samples; None without samples."""
    if result.top1_accuracy is None or result.overall.multi_label_accuracy is None:
        return None
    return {Axis.TOP1: result.top1_accuracy, Axis.MULTI_LABEL: result.overall.multi_label_accuracy}


def fit_line(accuracy: NDArray[np.float64], values: NDArray[np.float64]) -> Fit | None:
    """Fit a least-squares line through n models.

    Args:
        accuracy: (n,) accuracies.
        values: (n,) values of a metric.

    Returns:
        The fit; None for models with fewer than three different accuracies.
    """
    if np.count_nonzero(np.diff(np.sort(accuracy), prepend=-np.inf) > ROUNDING) < MIN_ACCURACIES:
        return None
    centered = accuracy - accuracy.mean()
    is_constant = np.ptp(values) <= ROUNDING
    slope = 0.0 if is_constant else float((centered * (values - values.mean())).sum() / (centered**2).sum())
    intercept = float(values.mean() - slope * accuracy.mean())
    total = float(((values - values.mean()) ** 2).sum())
    residual = float(((values - intercept - slope * accuracy) ** 2).sum())
    return Fit(len(accuracy), slope, intercept, None if is_constant else 1 - residual / total)


def fits_of(
    points: Sequence[TrendPoint],
    axes: Mapping[Metric, Axis],
    labels: Sequence[str],
    curves: Curves | None = None,
    group: str = ALL,
) -> tuple[LabelFit, ...]:
    """Fit a line through all models, and one through the models with each label, for each metric over its axis.

    The shift of a label is the mean difference from the median of the published models at equal accuracy. Without
    published models, it is the mean difference from the line through all models.
    """
    accuracies = {axis: np.array([point.accuracies[axis] for point in points]) for axis in Axis}
    label_masks = {label: np.array([point.label == label for point in points], dtype=bool) for label in labels}
    fits: list[LabelFit] = []
    for metric, axis in axes.items():
        accuracy = accuracies[axis]
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
    accuracy: NDArray[np.float64], metric: Metric, overall: Fit | None, curves: Curves | None, group: str
) -> NDArray[np.float64]:
    """Return the reference values of a metric at accuracies (n,); NaN where there is no reference."""
    if curves is not None and (group, metric) in curves.quantiles:
        median = curves.quantiles[group, metric][:, len(QUANTILES) // 2].astype(np.float64)
        known = ~np.isnan(median)
        return np.interp(accuracy, curves.axes[AXES[metric]].knots[known], median[known], left=np.nan, right=np.nan)
    return np.full(len(accuracy), np.nan) if overall is None else overall.predict(accuracy)

"""Percentiles of a model among published or own models of similar accuracy (spec/statistics: "percentile …")."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.domain import (
    ALL,
    AXES,
    CORRECT_TYPES,
    ERROR_TYPES,
    MIN_NEIGHBORS,
    MULTI_LABEL_ACCURACY,
    POOLED,
    PORTIONS,
    TOP1_CORRECT_TYPES,
    TOP1_ERROR_TYPES,
    Axis,
    Curves,
    ErrorType,
    GroupNumbers,
    Metric,
    NoReferenceReason,
    PercentileRank,
    StoredResult,
)
from service.summary.own_models import OwnModels
from service.summary.significance import percentiles, resampled_cells
from service.summary.trend import ROUNDING, accuracies_of, metric_intervals, metric_values

MAX_SPAN = 0.5  # share of the scale; a percentile with a wider interval is not shown


def shown_metrics(abstained: Sequence[ErrorType]) -> tuple[Metric, ...]:
    """Return the metrics of a trend with published models.

    A type is shown if its rule and all earlier rules had evidence. If any rule abstained, the metric POOLED is shown
    too. It combines the first type whose rule can abstain and all later types.
    """
    first = min((error_type.position for error_type in abstained), default=len(ERROR_TYPES))
    types = [error_type.key for error_type in TOP1_ERROR_TYPES if error_type.position < first]
    return (*types, *([POOLED] if abstained else []), MULTI_LABEL_ACCURACY)


def has_reference(metric: Metric, own_superclasses: bool) -> bool:
    """Return whether a metric is comparable with the published models.

    Metrics that are plotted over multi-label accuracy depend on superclasses, and are therefore comparable only if the
    superclasses are those of the authors.
    """
    return not own_superclasses or AXES[metric] is Axis.TOP1


@dataclass(frozen=True)
class _Values:
    """Values of a metric and accuracies on its axis; index 0 is the model, the others are bootstrap draws of it."""

    values: NDArray[np.float64]  # (1 + draws,); NaN: no errors
    accuracies: NDArray[np.float64]  # (1 + draws,)


class Reference(Protocol):
    """Models among which the percentiles of a model are determined."""

    def has(self, metric: Metric) -> bool:
        """Return whether the models have values of a metric."""

    def range_of(self, metric: Metric) -> tuple[float, float]:
        """Return the lowest and the highest accuracy on the axis of a metric."""

    def shares_of_lower(
        self, metric: Metric, accuracies: NDArray[np.float64], values: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the share of the models of similar accuracy with a lower value, (n,); NaN: too few models."""


@dataclass(frozen=True)
class PublishedModels:
    """The published models in one group."""

    curves: Curves
    group: str

    def has(self, metric: Metric) -> bool:
        """Return whether the models have values of a metric. Error types added after their publication have none."""
        return (self.group, metric) in self.curves.quantiles

    def range_of(self, metric: Metric) -> tuple[float, float]:
        """Return the lowest and the highest accuracy on the axis of a metric."""
        axis = self.curves.axes[AXES[metric]]
        return axis.lowest, axis.highest

    def shares_of_lower(
        self, metric: Metric, accuracies: NDArray[np.float64], values: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the share of the models of similar accuracy with a lower value, from their quantiles."""
        knots = self.curves.axes[AXES[metric]].knots
        return percentiles_of(quantiles_at(knots, self.curves.quantiles[self.group, metric], accuracies), values)


def percentile_ranks_of(
    curves: Curves, group: str, result: StoredResult, own_superclasses: bool
) -> tuple[PercentileRank, ...]:
    """Return the percentiles of a model among the published models with similar accuracy.

    The intervals come from a bootstrap of the model's images (docs/adr/0054).

    Args:
        curves: Quantiles of the published models.
        group: Group of the values.
        result: The model, with the numbers of the group.
        own_superclasses: Whether the superclasses differ from those of the authors.
    """
    return _ranks_of(PublishedModels(curves, group), group, result, own_superclasses=own_superclasses)


def percentile_ranks_among(
    models: OwnModels, group: str, result: StoredResult, class_mean_scale: float = 1.0
) -> tuple[PercentileRank, ...]:
    """Return the percentiles of a model among other models that were analyzed with the same evidence.

    Args:
        models: The other models, with the values of the group.
        group: Group of the values.
        result: The model, with the numbers of the group.
        class_mean_scale: Standard deviation of a mean over the classes of the evidence, relative to that of a mean over
            its images (docs/adr/0097).

    Returns:
        The percentiles; empty if there are fewer than 20 other models.
    """
    if len(models) < MIN_NEIGHBORS:
        return ()
    return _ranks_of(models, group, result, class_mean_scale=class_mean_scale)


def _ranks_of(
    reference: Reference,
    group: str,
    result: StoredResult,
    *,
    own_superclasses: bool = False,
    class_mean_scale: float = 1.0,
) -> tuple[PercentileRank, ...]:
    accuracies = accuracies_of(result)
    if accuracies is None:
        return ()
    values, resampled = metric_values(result.group), _resample(result, accuracies, class_mean_scale)
    score_limits = metric_intervals(result.group)
    ranks = []
    for metric in shown_metrics(result.abstained):
        if not reference.has(metric):
            continue
        if metric == MULTI_LABEL_ACCURACY and group != ALL:  # its interval needs the classes of images
            continue
        value, axis = values.get(metric), AXES[metric]
        if value is None:
            ranks.append(PercentileRank(metric, None, None, NoReferenceReason.NO_VALUE))
        elif not has_reference(metric, own_superclasses):
            ranks.append(PercentileRank(metric, value, None, NoReferenceReason.SUPERCLASSES))
        else:
            draws = resampled[metric]
            points = _Values(np.r_[value, draws.values], np.r_[accuracies[axis], draws.accuracies])
            ranks.append(_rank(reference, metric, points, score_limits.get(metric)))
    return tuple(ranks)


def _rank(
    reference: Reference, metric: Metric, points: _Values, score_limits: tuple[float, float] | None
) -> PercentileRank:
    """Return the percentile of a model with its interval.

    If the portion of a metric is 0 or 1, so is that of each draw. Its score interval then gives the interval.
    """
    lowest, highest = reference.range_of(metric)
    value = float(points.values[0])
    if not lowest - ROUNDING <= points.accuracies[0] <= highest + ROUNDING:
        return PercentileRank(metric, value, None, NoReferenceReason.ACCURACY)
    of_points = reference.shares_of_lower(metric, points.accuracies.clip(lowest, highest), points.values)
    drawn = of_points[1:][~np.isnan(of_points[1:])]
    if np.isnan(of_points[0]) or not len(drawn):
        return PercentileRank(metric, value, None, NoReferenceReason.FEW)
    low, high = (float(bound) for bound in percentiles(drawn))
    if score_limits is not None and value in (0, 1):
        accuracy = points.accuracies[[0, 0]].clip(lowest, highest)
        low, high = reference.shares_of_lower(metric, accuracy, np.array(score_limits)).tolist()
    if high - low > MAX_SPAN:
        return PercentileRank(metric, value, None, NoReferenceReason.INDISTINCT, low, high)
    return PercentileRank(metric, value, float(of_points[0]), None, low, high)


def _resample(
    result: StoredResult, accuracies: Mapping[Axis, float], class_mean_scale: float
) -> Mapping[Metric, _Values]:
    """Return bootstrap draws of the metrics: the images of a model are drawn with replacement.

    Drawing images and counting them is one draw from a multinomial over error types, inside and outside of the group.
    An accuracy changes in each draw by as much as the share of correct images. It differs from this share, because
    multi-label accuracy is a mean over classes, and a predicted target that the labels reject is top-1 correct. The
    mean over classes varies more than the share if classes have unequal sizes.
    """
    num_types = len(ERROR_TYPES)
    inside, overall = (_counts(numbers) for numbers in (result.group, result.overall))
    cells = resampled_cells(np.concatenate([inside, overall - inside])).astype(np.float64)
    drawn_inside, drawn_overall = cells[:, :num_types], cells[:, :num_types] + cells[:, num_types:]
    changes = {
        axis: _shares(drawn_overall, types, ERROR_TYPES) - _shares(overall, types, ERROR_TYPES)
        for axis, types in ((Axis.TOP1, TOP1_CORRECT_TYPES), (Axis.MULTI_LABEL, CORRECT_TYPES))
    }
    changes[Axis.MULTI_LABEL] *= class_mean_scale
    drawn_accuracies = {axis: (accuracies[axis] + change).clip(0, 1) for axis, change in changes.items()}
    values = {metric: _shares(drawn_inside, portion.types, portion.errors) for metric, portion in PORTIONS.items()}
    values[MULTI_LABEL_ACCURACY] = drawn_accuracies[Axis.MULTI_LABEL]
    return {metric: _Values(values[metric], drawn_accuracies[AXES[metric]]) for metric in values}


def _counts(numbers: GroupNumbers) -> NDArray[np.int64]:
    return np.array([numbers.counts.get(error_type, 0) for error_type in ERROR_TYPES], dtype=np.int64)


def _shares(counts: NDArray[np.generic], types: Sequence[ErrorType], among: Sequence[ErrorType]) -> NDArray[np.float64]:
    """Return the share of `types` in the sum of `among`, from counts (…, T); NaN if this sum is 0."""
    part, total = (counts[..., [error_type.position for error_type in part]].sum(axis=-1) for part in (types, among))
    shares: NDArray[np.float64] = np.divide(part, total, out=np.full(np.shape(total), np.nan), where=total > 0)
    return shares


def quantiles_at(
    knots: NDArray[np.float64], quantiles: NDArray[np.float32], accuracies: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the 1 to 99 % quantiles at accuracies by linear interpolation.

    Args:
        knots: (K,) accuracies.
        quantiles: (K, 99) quantiles at the knots; NaN: too few models.
        accuracies: (n,) accuracies.

    Returns:
        (n, 99) quantiles; NaN if a knot next to the accuracy has too few models.
    """
    positions = np.interp(accuracies, knots, np.arange(len(knots)))
    low = positions.astype(np.int64)
    high = np.ceil(positions).astype(np.int64)  # the same knot for an accuracy at a knot
    fraction = (positions - low)[:, None]
    return (1 - fraction) * quantiles[low] + fraction * quantiles[high]


def percentiles_of(quantiles: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of models with a lower value; ties count half.

    Values that are equal as 32-bit numbers are ties.

    Args:
        quantiles: (n, 99) 1 to 99 % quantiles of the models.
        values: (n,) values.

    Returns:
        (n,) shares, NaN where a value or its quantiles are NaN.
    """
    rounded, limits = values.astype(np.float32)[:, None], quantiles.astype(np.float32)
    steps = (limits < rounded).sum(axis=1) + (limits <= rounded).sum(axis=1)
    shares: NDArray[np.float64] = (steps + 1) / (2 * (quantiles.shape[1] + 1))
    return np.where(np.isnan(values) | np.isnan(quantiles[:, 0]), np.nan, shares)

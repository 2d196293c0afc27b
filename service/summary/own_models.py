"""Own models: analyzed models as the reference of percentiles if no models are published (docs/adr/0065).

A model is compared with all other models that were analyzed with the same evidence. Of each other model, only the
newest result of its latest version counts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.domain import (
    AXES,
    MAX_DISTANCE,
    METRICS,
    MIN_NEIGHBORS,
    NEAREST_MODELS,
    UNNAMED,
    Axis,
    Metric,
    StoredResult,
)
from service.summary.trend import ROUNDING, accuracies_of, metric_values


@dataclass(frozen=True)
class OwnModels:
    """M models, each with the values of the newest analysis of its latest version."""

    keys: tuple[str, ...]  # (M,) keys of the models
    accuracies: Mapping[Axis, NDArray[np.float64]]  # (M,)
    values: Mapping[Metric, NDArray[np.float64]]  # (M,); NaN: the model has no such errors

    @classmethod
    def of(cls, results: Iterable[StoredResult]) -> "OwnModels":
        """Create the models from results of one data set and evidence.

        The latest version of a model is the one whose first analysis is the newest: to analyze an old version again
        does not make it the latest.
        """
        usable = sorted(
            (result for result in results if accuracies_of(result) is not None), key=lambda result: result.time_key
        )
        first = {(_key(result), result.version): result.time_key for result in reversed(usable)}
        by_version = sorted(usable, key=lambda result: first[_key(result), result.version])
        newest = {_key(result): result for result in by_version}
        accuracies = [accuracies_of(result) or {} for result in newest.values()]
        values = [metric_values(result.group) for result in newest.values()]
        return cls(
            tuple(newest),
            {axis: np.array([of_model[axis] for of_model in accuracies]) for axis in Axis},
            {metric: np.array([of_model.get(metric, np.nan) for of_model in values]) for metric in METRICS},
        )

    def __len__(self) -> int:
        return len(self.keys)

    def without(self, result: StoredResult) -> "OwnModels":
        """Return all models except the model of a result."""
        others = np.array([key != _key(result) for key in self.keys], dtype=bool)
        return OwnModels(
            tuple(key for key, is_other in zip(self.keys, others.tolist(), strict=True) if is_other),
            {axis: accuracies[others] for axis, accuracies in self.accuracies.items()},
            {metric: values[others] for metric, values in self.values.items()},
        )

    def has(self, metric: Metric) -> bool:
        """Return whether any model has a value of a metric."""
        return not np.isnan(self.values[metric]).all()

    def range_of(self, metric: Metric) -> tuple[float, float]:
        """Return the lowest and the highest accuracy on the axis of a metric."""
        accuracies = self.accuracies[AXES[metric]]
        return float(accuracies.min()), float(accuracies.max())

    def shares_of_lower(
        self, metric: Metric, accuracies: NDArray[np.float64], values: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the share of the models nearest in accuracy that have a lower value; ties count half.

        The nearest models are the 50 with the smallest difference in accuracy, and all others with the same difference
        as the last of them, so that the result does not depend on the order of models. Models whose difference exceeds
        MAX_DISTANCE are excluded.

        Args:
            metric: The metric.
            accuracies: (n,) accuracies on the axis of the metric.
            values: (n,) values.

        Returns:
            (n,) shares, NaN for fewer than 20 neighbors or where the value is NaN.
        """
        known = np.flatnonzero(~np.isnan(self.values[metric]))
        order = known[np.argsort(self.accuracies[AXES[metric]][known], kind="stable")]
        models, model_values = self.accuracies[AXES[metric]][order], self.values[metric][order].astype(np.float32)
        distance = np.minimum(MAX_DISTANCE, _distance_of_nearest(models, accuracies)) + ROUNDING
        first = np.searchsorted(models, accuracies - distance, side="left")
        counts = np.searchsorted(models, accuracies + distance, side="right") - first
        rounded = values.astype(np.float32)
        lower = np.zeros(len(values))
        for offset in range(int(counts.max(initial=0))):
            neighbor = model_values[np.minimum(first + offset, len(models) - 1)]
            shares = np.where(neighbor < rounded, 1.0, np.where(neighbor == rounded, 0.5, 0.0))
            lower += np.where(offset < counts, shares, 0.0)
        is_known = (counts >= MIN_NEIGHBORS) & ~np.isnan(values)
        return np.where(is_known, lower / np.maximum(counts, 1), np.nan)


def _key(result: StoredResult) -> str:
    """Return the key of a model: its name, or else its display name, or else the digest of its predictions."""
    model, _ = result.version
    return model or (result.title if result.title != UNNAMED else result.predictions_digest)


def _distance_of_nearest(models: NDArray[np.float64], accuracies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance from each accuracy to its 50th nearest model, (n,); infinity for at most 50 models.

    The 50 nearest models are adjacent in `models`, the sorted accuracies of the models (M,). The first of the 50 is
    the first model whose distance is at most the distance of the model 50 positions after it.
    """
    if len(models) <= NEAREST_MODELS:
        return np.full(len(accuracies), np.inf)
    first = np.searchsorted(models[:-NEAREST_MODELS] + models[NEAREST_MODELS:], 2 * accuracies, side="left")
    return np.maximum(accuracies - models[first], models[first + NEAREST_MODELS - 1] - accuracies)

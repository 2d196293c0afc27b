"""Derive data/curves-DATASET.npz from the authors' published statistics: python -m service.reference_models.derive DIR.

DIR contains the folders `stats-imagenet` and `stats-imagenet-a` with the files `non_problematic_stats_GROUP.csv` of 962
models. These files are not part of this project. There are two axes: top-1 accuracy and multi-label accuracy, both
over all samples. Knots on an axis are 0.5 percentage points apart. At each knot, the result has the 1 to 99 % quantiles
of each metric of the axis. The quantiles are over the models within 2.5 points of accuracy, at most the 50 nearest
ones. With fewer than 20 such models, the quantiles are NaN.
"""

import hashlib
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from errata.files import write_file
from numpy.typing import NDArray

from service.domain import ALL, AXES, MAX_DISTANCE, MIN_NEIGHBORS, NEAREST_MODELS, QUANTILES, Axis
from service.reference_models.layout import DATASETS, GROUPS, PUBLISHED_METRICS, PublishedModel, read_models
from service.summary.trend import fit_line, metric_values

STEP = 0.005  # distance in accuracy between two knots
_DIGITS = 9  # decimal places; values that are equal after rounding count as equal


def derive(folder: Path, dataset: str) -> dict[str, NDArray[Any]]:
    """Return the arrays for one data set; curves.py documents the layout."""
    models: dict[str, list[PublishedModel]] = {}
    sources = {}
    for group in GROUPS:
        file = folder / f"stats-{dataset}" / f"non_problematic_stats_{group}.csv"
        content = file.read_bytes()
        models[group] = read_models(content)
        sources[f"stats-{dataset}/{file.name}"] = hashlib.sha256(content).hexdigest()
    # The accuracies are over all samples in the file of every group, so those of ALL are sufficient.
    accuracies = {axis: np.array([model.accuracies[axis] for model in models[ALL]]) for axis in Axis}
    knots = {axis: _knots(accuracies[axis]) for axis in Axis}
    num_knots = max(map(len, knots.values()))
    quantiles = np.full((len(GROUPS), len(PUBLISHED_METRICS), num_knots, len(QUANTILES)), np.nan, dtype=np.float32)
    fits = np.full((len(GROUPS), len(PUBLISHED_METRICS), 4), np.nan)
    for row, group in enumerate(GROUPS):
        values = values_by_metric(models[group])
        for column, metric in enumerate(PUBLISHED_METRICS):
            accuracy = accuracies[AXES[metric]]
            fits[row, column] = _fit(accuracy, values[column])
            for index, knot in enumerate(knots[AXES[metric]].tolist()):
                neighbors = nearest(accuracy, values[column], knot)
                if neighbors is not None:
                    quantiles[row, column, index] = np.quantile(neighbors, QUANTILES)
    facts = {"dataset": dataset, "sources": sources, "models": len(models[ALL])}
    return {
        "knots": np.stack(
            [np.pad(knots[axis], (0, num_knots - len(knots[axis])), constant_values=np.nan) for axis in Axis]
        ),
        "quantiles": quantiles,
        "range": np.array([[accuracies[axis].min(), accuracies[axis].max()] for axis in Axis]),
        "fits": fits,
        "facts": np.array(json.dumps(facts, sort_keys=True)),
    }


def values_by_metric(models: Sequence[PublishedModel]) -> NDArray[np.float64]:
    """Return the metrics of each model, (metrics, models); NaN for portions of a model without errors."""
    table = np.full((len(PUBLISHED_METRICS), len(models)), np.nan)
    for column, model in enumerate(models):
        values = metric_values(model.numbers)
        for row, metric in enumerate(PUBLISHED_METRICS):
            table[row, column] = values.get(metric, np.nan)
    return table


def nearest(accuracy: NDArray[np.float64], values: NDArray[np.float64], at: float) -> NDArray[np.float64] | None:
    """Return the values of the models nearest to an accuracy; None if fewer than MIN_NEIGHBORS are near it."""
    known = np.flatnonzero(~np.isnan(values))
    distance = np.round(np.abs(accuracy[known] - at), _DIGITS)
    order = known[np.argsort(distance, kind="stable")][:NEAREST_MODELS]
    neighbors = order[np.round(np.abs(accuracy[order] - at), _DIGITS) <= MAX_DISTANCE]
    return values[neighbors] if len(neighbors) >= MIN_NEIGHBORS else None


def _knots(accuracy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the multiples of STEP that cover the range of accuracies."""
    first, last = int(np.floor(accuracy.min() / STEP)), int(np.ceil(accuracy.max() / STEP))
    return np.round(np.arange(first, last + 1) * STEP, _DIGITS)


def _fit(accuracy: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Return the number of models, slope, intercept, and R² of the line through all models."""
    known = ~np.isnan(values)
    fit = fit_line(accuracy[known], values[known])
    if fit is None or fit.r_squared is None:
        return (float(known.sum()), np.nan, np.nan, np.nan)
    return (fit.num_models, fit.slope, fit.intercept, fit.r_squared)


def main(folder: Path) -> None:
    """Write the files of both data sets to the data folder of this package."""
    for dataset in DATASETS:
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, **derive(folder, dataset))
        write_file(Path(__file__).parent / "data" / f"curves-{dataset}.npz", content.getvalue())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

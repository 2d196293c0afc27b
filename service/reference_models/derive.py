"""Derive data/curves-DATASET.npz from the authors' published statistics: python -m service.reference_models.derive DIR.

DIR contains the folders `stats-imagenet` and `stats-imagenet-a` with the files `non_problematic_stats_GROUP.csv` of 962
models. These files are not part of this project. The knots are 0.5 points of top-1 accuracy apart. At each knot, the
result has the 1 to 99 % quantiles of each metric over the 50 models that are nearest in accuracy and within 2.5 points,
or NaN for fewer than 20 models.
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

from service.domain import QUANTILES, Group
from service.reference_models.layout import DATASETS, PUBLISHED_METRICS, PublishedModel, read_models
from service.summary.trend import fit_line, metric_values

NEAREST = 50  # models
MAX_DISTANCE = 0.025  # maximum distance in accuracy
MIN_NEIGHBORS = 20  # models
STEP = 0.005  # distance in accuracy between two knots
_DIGITS = 9  # accuracies with the same rounded value are equal


def derive(folder: Path, dataset: str) -> dict[str, NDArray[Any]]:
    """Return the arrays for one data set; curves.py documents the layout."""
    models: dict[Group, list[PublishedModel]] = {}
    sources = {}
    for group in Group:
        file = folder / f"stats-{dataset}" / f"non_problematic_stats_{group.value}.csv"
        content = file.read_bytes()
        models[group] = read_models(content)
        sources[f"stats-{dataset}/{file.name}"] = hashlib.sha256(content).hexdigest()
    accuracy = np.array([model.top1_accuracy for model in models[Group.ALL]])
    knots = _knots(accuracy)
    quantiles = np.full((len(Group), len(PUBLISHED_METRICS), len(knots), len(QUANTILES)), np.nan, dtype=np.float32)
    values = np.full((len(Group), len(PUBLISHED_METRICS), len(accuracy)), np.nan)
    for row, group in enumerate(Group):
        values[row] = values_by_metric(models[group])
        for column in range(len(PUBLISHED_METRICS)):
            for index, knot in enumerate(knots):
                neighbors = nearest(accuracy, values[row, column], float(knot))
                if neighbors is not None:
                    quantiles[row, column, index] = np.quantile(neighbors, QUANTILES)
    facts = {"dataset": dataset, "sources": sources, "models": len(accuracy)}
    return {
        "knots": knots,
        "quantiles": quantiles,
        "range": np.array([accuracy.min(), accuracy.max()]),
        "fits": np.array([[_fit(accuracy, metric) for metric in group] for group in values]),
        "facts": np.array(json.dumps(facts, sort_keys=True)),
    }


def values_by_metric(models: Sequence[PublishedModel]) -> NDArray[np.float64]:
    """Return the metrics of each model, (metrics, models); NaN for portions of a model without errors."""
    table = np.full((len(PUBLISHED_METRICS), len(models)), np.nan)
    for column, model in enumerate(models):
        values = metric_values(model.counts, model.multi_label_accuracy)
        for row, metric in enumerate(PUBLISHED_METRICS):
            table[row, column] = values.get(metric, np.nan)
    return table


def nearest(accuracy: NDArray[np.float64], values: NDArray[np.float64], at: float) -> NDArray[np.float64] | None:
    """Return the values of the models nearest to an accuracy; None if there are too few."""
    known = np.flatnonzero(~np.isnan(values))
    distance = np.round(np.abs(accuracy[known] - at), _DIGITS)
    order = known[np.argsort(distance, kind="stable")][:NEAREST]
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

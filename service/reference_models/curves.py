"""Curves of the published models: data/curves-DATASET.npz, created by derive.py.

quantiles  (groups, metrics, K, 99)    float32; NaN: fewer than 20 models near the knot of the metric's axis
fits       (groups, metrics, 4)        number of models, slope, intercept, and R² of the line through all models
knots      (axes, K) float64           accuracies, 0.5 points apart; the axis with fewer knots is padded with NaN
range      (axes, 2) float64           lowest and highest accuracy
facts      JSON                        data set, number of models, SHA-256 of the authors' files
"""

import io
import json
from functools import cache
from importlib.resources import files

import numpy as np

from service.domain import AXES, Axis, AxisRange, Curves, Fit
from service.reference_models.layout import DATASETS, GROUPS, PUBLISHED_METRICS


@cache
def curves_of(dataset: str) -> Curves | None:
    """Return the curves of the published models of a data set; None if there are no published models."""
    if dataset not in DATASETS:
        return None
    content = (files("service.reference_models") / f"data/curves-{dataset}.npz").read_bytes()
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        quantiles, knots, ranges = arrays["quantiles"], arrays["knots"], arrays["range"].tolist()
        keys = [(group, metric) for group in GROUPS for metric in PUBLISHED_METRICS]
        fits = arrays["fits"].reshape(-1, 4).tolist()
        axes = {
            axis: AxisRange(lowest, highest, row[~np.isnan(row)])
            for axis, (lowest, highest), row in zip(Axis, ranges, knots, strict=True)
        }
        return Curves(
            dataset=dataset,
            num_models=json.loads(str(arrays["facts"]))["models"],
            axes=axes,
            quantiles={
                (group, metric): rows[: len(axes[AXES[metric]].knots)]
                for (group, metric), rows in zip(keys, quantiles.reshape(-1, *quantiles.shape[2:]), strict=True)
            },
            fits={
                key: Fit(int(models), slope, intercept, None if np.isnan(r_squared) else r_squared)
                for key, (models, slope, intercept, r_squared) in zip(keys, fits, strict=True)
                if not np.isnan(slope)
            },
        )

"""The chart of a trend: for each metric, a small scatter plot of the models against an accuracy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import numpy as np

from service.domain import QUANTILES, Axis, Curves, Metric, Trend, TrendPoint
from service.report.charts import Spec, draw, literal_color
from service.report.messages.trend import point_text
from service.report.named_marks import NAMED, name_mark

_BANDS = ((4, 94), (24, 74))  # indices in QUANTILES: 5 to 95 %, 25 to 75 %
MAX_LARGE = 200  # models; the dots of more models are smaller
MAX_NAMED = 1000  # models; the dots of further ones have no name, so that a page has at most a few megabytes
_OWN_SIZE, _REFERENCE_SIZE, _OWN_COLOR = 60, 26, "var(--c1)"  # square pixels; color if no label has one
TITLE_WIDTH, SUBTITLE_WIDTH = 34, 40  # characters in a line, so that titles of neighboring charts do not overlap


@dataclass(frozen=True)
class MetricTitle:
    """A metric with the texts and the fit of its chart."""

    metric: Metric
    title: str
    subtitle: str
    x: str  # name of the accuracy
    y: str  # what the metric is a portion of; empty for an accuracy
    line: tuple[float, float] | None  # slope and intercept of the fit over all models


@dataclass(frozen=True)
class TrendStyle:
    """The properties that all charts of a trend share."""

    colors: Mapping[str, str]  # by label
    selected: Sequence[str]  # IDs of the analyses with a diamond
    has_links: bool  # whether the dots of analyses are links to their pages


@dataclass(frozen=True)
class _Axes:
    """The axes that the layers of one chart share."""

    accuracy: Axis
    domain: list[float]  # accuracy, in percent
    x: Spec
    y: Spec


def trend_multiples(metrics: Sequence[MetricTitle], trend: Trend, style: TrendStyle) -> list[str]:
    """Draw one chart for each metric by accuracy: the bands of the reference models, the models, and a fit.

    Each chart is an SVG of its own, so that a page arranges them by its width. A single chart is larger.

    Args:
        metrics: The metrics with their titles.
        trend: The models, and the curves of the reference models.
        style: The properties that the charts share.

    Returns:
        An SVG for each metric.
    """
    size = {"width": 460, "height": 280} if len(metrics) == 1 else {"width": 250, "height": 170}
    return [draw(_metric_chart(metric, trend, style) | size) for metric in metrics]


def _accuracy_domain(trend: Trend, axis: Axis) -> list[float]:
    """Return the accuracy range of the models in percent, or that of the reference models if there are no models."""
    accuracies = [point.accuracies[axis] for point in trend.points]
    if not accuracies and trend.curves is not None:
        accuracies = [trend.curves.axes[axis].lowest, trend.curves.axes[axis].highest]
    low, high = (min(accuracies), max(accuracies)) if accuracies else (0.0, 1.0)
    margin = max(0.02, 0.08 * (high - low))
    return [100 * max(0.0, low - margin), 100 * min(1.0, high + margin)]


def _metric_chart(title: MetricTitle, trend: Trend, style: TrendStyle) -> Spec:
    metric = title.metric
    axes = _make_axes(title, trend)
    points = [point for point in trend.points if metric in point.values]
    layers = [] if trend.curves is None else _bands(trend.curves, trend.group, metric, axes)
    layers.append(_intervals(points, metric, axes))
    layers.append(_diamonds([point for point in points if point.id in style.selected], metric, axes))
    layers += _models(points, metric, style, axes)
    if title.line is not None:
        layers.append(_fit(title.line, [point.accuracies[axes.accuracy] for point in points], axes))
    return {
        "title": {
            "text": wrap(title.title, TITLE_WIDTH),
            "subtitle": wrap(title.subtitle, SUBTITLE_WIDTH),
            "anchor": "start",
            "subtitleColor": "var(--soft)",
        },
        "layer": layers,
    }


def _make_axes(title: MetricTitle, trend: Trend) -> _Axes:
    accuracy = trend.axes[title.metric]
    domain = _accuracy_domain(trend, accuracy)
    x = {
        "field": "x",
        "type": "quantitative",
        "scale": {"domain": domain, "nice": False},
        "axis": {"title": f"{title.x}, %", "tickCount": 5, "labelPadding": 8},
    }
    y = {
        "field": "y",
        "type": "quantitative",
        "scale": {"zero": bool(title.y), "nice": True},
        "axis": {"title": f"% of {title.y}" if title.y else "%", "tickCount": 5},
    }
    return _Axes(accuracy, domain, x, y)


def _models(points: Sequence[TrendPoint], metric: Metric, style: TrendStyle, axes: _Axes) -> list[Spec]:
    """Return the dots of the models. The dots of analyses are drawn over the dots of reference models."""
    values: list[Spec] = [
        {
            "x": round(100 * point.accuracies[axes.accuracy], 2),
            "y": round(100 * point.values[metric], 2),
            "fill": style.colors.get(point.label, _OWN_COLOR if point.id and not style.colors else "var(--dot)"),
            "size": (_OWN_SIZE if point.id else _REFERENCE_SIZE) / (1 if len(points) < MAX_LARGE else 3),
            "mark": _mark(point, metric, style),
        }
        for point in points
    ]
    named, others = values[:MAX_NAMED], values[MAX_NAMED:]
    named.sort(key=lambda value: value["size"])
    return [_dots(others, axes, {}), _dots(named, axes, NAMED)] if others else [_dots(named, axes, NAMED)]


def _layer(values: Sequence[Spec], axes: _Axes, mark: Spec, **encoding: Any) -> Spec:
    """Return marks at the coordinates of the values, with further encodings."""
    return {"data": {"values": values}, "mark": mark, "encoding": {"x": axes.x, "y": axes.y, **encoding}}


def _dots(values: Sequence[Spec], axes: _Axes, encoding: Mapping[str, Any]) -> Spec:
    size = {"field": "size", "type": "quantitative", "scale": None, "legend": None}
    mark = {"type": "point", "filled": True, "opacity": 0.8}
    return _layer(values, axes, mark, color=literal_color("fill"), size=size, **encoding)


def _mark(point: TrendPoint, metric: Metric, style: TrendStyle) -> str:
    """Return the name of a dot, and its link if it has one."""
    return name_mark(point_text(point, metric), f"/analyses/{point.id}" if point.id and style.has_links else "")


def _intervals(points: Sequence[TrendPoint], metric: Metric, axes: _Axes) -> Spec:
    values = [
        {
            "x": 100 * point.accuracies[axes.accuracy],
            "y": 100 * point.intervals[metric][0],
            "high": 100 * point.intervals[metric][1],
        }
        for point in points
        if metric in point.intervals
    ]
    mark = {"type": "rule", "color": "var(--soft)", "strokeWidth": 1.5}
    return _layer(values, axes, mark, y2={"field": "high"})


def _fit(line: tuple[float, float], accuracies: Sequence[float], axes: _Axes) -> Spec:
    """Return a line over the range of the models, clipped at zero."""
    slope, intercept = line
    low, high = min(accuracies), max(accuracies)
    if slope and low < -intercept / slope < high:
        low, high = (max(low, -intercept / slope), high) if slope > 0 else (low, min(high, -intercept / slope))
    ends = [{"x": 100 * accuracy, "y": 100 * (intercept + slope * accuracy)} for accuracy in (low, high)]
    mark = {"type": "line", "color": "var(--ink)", "strokeDash": [6, 3], "strokeWidth": 1.5, "clip": True}
    return _layer(ends, axes, mark)


def _diamonds(points: Sequence[TrendPoint], metric: Metric, axes: _Axes) -> Spec:
    values = [{"x": 100 * point.accuracies[axes.accuracy], "y": 100 * point.values[metric]} for point in points]
    mark = {"type": "point", "shape": "diamond", "size": 220, "stroke": "var(--ink)", "strokeWidth": 2.5}
    return _layer(values, axes, mark)


def _bands(curves: Curves, group: str, metric: Metric, axes: _Axes) -> list[Spec]:
    """Return the bands and the median of the reference models."""
    if (group, metric) not in curves.quantiles:
        return []
    quantiles = 100 * curves.quantiles[group, metric]
    percent = 100 * curves.axes[axes.accuracy].knots
    inside = ~np.isnan(quantiles[:, 0]) & (percent >= axes.domain[0]) & (percent <= axes.domain[1])
    assert len(QUANTILES) == quantiles.shape[1], "This is a bug: expected the quantiles from 1 to 99 %"
    knots = percent[inside]
    layers: list[Spec] = []
    for low, high in _BANDS:
        values = [
            {"x": round(knot, 2), "y": round(bottom, 2), "top": round(top, 2)}
            for knot, bottom, top in zip(
                knots.tolist(), quantiles[inside, low].tolist(), quantiles[inside, high].tolist(), strict=True
            )
        ]
        mark = {"type": "area", "color": "var(--band)", "opacity": 0.5}
        layers.append(_layer(values, axes, mark, y2={"field": "top"}))
    median = [
        {"x": round(knot, 2), "y": round(value, 2)}
        for knot, value in zip(knots.tolist(), quantiles[inside, 49].tolist(), strict=True)
    ]
    return [*layers, _layer(median, axes, {"type": "line", "color": "var(--soft)", "strokeWidth": 1})]

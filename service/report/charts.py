"""Charts: Vega-Lite specifications, drawn as inline SVG by vl-convert, without a network or a browser.

Colors are CSS variables of the page, so that one chart suits light mode, dark mode, and print. Charts are hidden from
screen readers: the templates add a description and a table.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from functools import cache
from textwrap import wrap
from typing import Any

import numpy as np
from errata.messages import format_count, format_percentage

from service.domain import QUANTILES, Calibration, Curves, ErrorType, Group, Metric, TrendPoint
from service.report import chart_process

_chart_numbers = itertools.count(1)  # make the IDs in one page unique
_BANDS = ((4, 94), (24, 74))  # indices in QUANTILES: 5 to 95 %, 25 to 75 %
_PADDING = {"left": 40, "right": 24, "top": 4, "bottom": 4}  # pixels, for fonts that are wider than those of vl-convert
_MAX_LABEL_START = 0.42  # share of the axis; a bar that starts further right has its label on the left
Spec = dict[str, Any]
Rows = list[dict[str, Any]]

TITLE_WIDTH, SUBTITLE_WIDTH = 34, 40  # characters in a line, so that titles of neighboring charts do not overlap
LABEL_COLORS = tuple(f"var(--c{index})" for index in range(1, 9))


def type_color(error_type: ErrorType) -> str:
    """Return the color of an error type."""
    return f"var(--t{int(error_type)})"


@cache
def _config() -> Spec:
    return {
        "background": "transparent",
        "font": "system-ui, sans-serif",
        "aria": False,
        "view": {"stroke": None},
        "text": {"fill": "var(--ink)", "fontSize": 12},
        "axis": {
            "labelLimit": 0,
            "labelColor": "var(--ink)",
            "titleColor": "var(--soft)",
            "titleFontWeight": "normal",
            "gridColor": "var(--line)",
            "domainColor": "var(--line)",
            "tickColor": "var(--line)",
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titlePadding": 8,
        },
        "header": {"labelColor": "var(--ink)", "labelFontSize": 13, "labelFontWeight": "bold", "title": None},
        "title": {"color": "var(--ink)", "fontSize": 13},
    }


def draw(spec: Mapping[str, Any]) -> str:
    """Draw a specification as SVG with unique IDs, without scripts and external references."""
    svg = chart_process.draw({**spec, "config": _config(), "padding": _PADDING})
    prefix = f"p{next(_chart_numbers)}-"
    svg = re.sub(r"<[^>]*>", lambda tag: _prefix_ids(tag[0], prefix), svg)
    return re.sub(r"<svg [^>]*?width=\"([\d.]+)\" height=\"([\d.]+)\"[^>]*>", _svg_tag, svg, count=1)


def _prefix_ids(tag: str, prefix: str) -> str:
    """Return a tag with a prefix on its ID and on the IDs that it refers to."""
    return re.sub(r'\bid="', f'id="{prefix}', tag).replace("url(#", f"url(#{prefix}")


def _svg_tag(match: re.Match[str]) -> str:
    box = f'width="{match[1]}" viewBox="0 0 {match[1]} {match[2]}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box} aria-hidden="true" focusable="false">'


def breakdown(groups: Sequence[tuple[str, Sequence[tuple[ErrorType, str, int | None]]]]) -> str:
    """Draw the error breakdown: a waterfall of the error types in each group.

    A bar starts where the bar of the previous type ends, so that the bars of a group span all of its errors.

    Args:
        groups: Name of each group with its (type, title, count) in the order of the rules. A count of None means that
            the rule was not evaluated.

    Returns:
        The SVG.
    """
    rows: Rows = []
    for group, types in groups:
        total = sum(count or 0 for _, _, count in types)
        start = 0.0
        for error_type, title, count in types:
            width = (count or 0) / total if total else 0.0
            text = "–" if count is None else f"{format_count(count)} ({format_percentage(width)})" if total else "0"
            rows.append(
                {
                    "group": group,
                    "type": title,
                    "start": start,
                    "end": start + width,
                    "fill": type_color(error_type),
                    "text": text,
                    "left": start > _MAX_LABEL_START,
                }
            )
            start += width
    order = [title for _, title, _ in groups[0][1]]
    y = {"field": "type", "type": "nominal", "sort": order, "title": None, "axis": {"domain": False, "ticks": False}}
    x = {
        "field": "start",
        "type": "quantitative",
        "scale": {"domain": [0, 1]},
        "axis": {"title": "percentage of top-1 errors", "format": ".0%", "values": [0, 0.5, 1]},
    }
    return draw(
        {
            "data": {"values": rows},
            "facet": {"column": {"field": "group", "sort": [group for group, _ in groups]}},
            "spec": {
                "width": 185,
                "height": {"step": 26},
                "layer": [
                    {
                        "mark": {"type": "bar", "height": 16},
                        "encoding": {"x": x, "x2": {"field": "end"}, "y": y, "color": _literal_color("fill")},
                    },
                    _bar_label(y, "left", "start", "right", -4),
                    _bar_label(y, "!left", "end", "left", 4),
                ],
            },
        }
    )


def _bar_label(y: Spec, condition: str, field: str, align: str, offset: int) -> Spec:
    test = f"!datum.{condition[1:]}" if condition.startswith("!") else f"datum.{condition}"
    return {
        "transform": [{"filter": test}],
        "mark": {"type": "text", "align": align, "dx": offset, "baseline": "middle", "fontSize": 11},
        "encoding": {"x": {"field": field, "type": "quantitative"}, "y": y, "text": {"field": "text"}},
    }


def _literal_color(field: str) -> Spec:
    return {"field": field, "type": "nominal", "scale": None, "legend": None}


def gains(rows: Sequence[tuple[ErrorType, str, float | None, float | None]], titles: tuple[str, str]) -> str:
    """Draw the accuracy gain without errors of each type.

    Args:
        rows: (type, title, top-1 gain, multi-label gain), gains as fractions of 1. None means that the rule was not
            evaluated.
        titles: Titles of the two columns.

    Returns:
        The SVG.
    """
    values = [
        {
            "type": title,
            "accuracy": name,
            "gain": 100 * (gain or 0.0),
            "fill": type_color(error_type),
            "text": "–" if gain is None else f"{100 * gain:.2f}",
        }
        for error_type, title, *type_gains in rows
        for name, gain in zip(titles, type_gains, strict=True)
    ]
    order = [title for _, title, *_ in rows]
    y = {"field": "type", "type": "nominal", "sort": order, "title": None, "axis": {"domain": False, "ticks": False}}
    x = {"field": "gain", "type": "quantitative", "axis": {"title": "percentage points", "tickCount": 4}}
    return draw(
        {
            "data": {"values": values},
            "facet": {"column": {"field": "accuracy", "sort": [*titles]}},
            "spec": {
                "width": 330,
                "height": {"step": 24},
                "layer": [
                    {
                        "mark": {"type": "bar", "height": 14},
                        "encoding": {"x": x, "y": y, "color": _literal_color("fill")},
                    },
                    {
                        "mark": {"type": "text", "align": "left", "dx": 4, "baseline": "middle"},
                        "encoding": {"x": x, "y": y, "text": {"field": "text"}},
                    },
                ],
            },
        }
    )


def reliability(calibration: Calibration, titles: tuple[str, str]) -> str:
    """Draw a reliability diagram for top-1 and multi-label correctness."""
    values = [
        {"confidence": bin_.confidence, "accuracy": accuracy, "what": title, "samples": bin_.num_samples}
        for bin_ in calibration.bins
        for title, accuracy in zip(titles, (bin_.top1_accuracy, bin_.multi_label_accuracy), strict=True)
        if accuracy is not None
    ]
    x = {"field": "confidence", "type": "quantitative", "scale": {"domain": [0, 1]}, "axis": _percent("confidence")}
    y = {"field": "accuracy", "type": "quantitative", "scale": {"domain": [0, 1]}, "axis": _percent("correct")}
    ends = [{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}]
    return draw(
        {
            "data": {"values": values},
            "facet": {"column": {"field": "what", "sort": [*titles]}},
            "spec": {
                "width": 300,
                "height": 220,
                "layer": [
                    {
                        "data": {"values": ends},
                        "mark": {"type": "line", "color": "var(--soft)", "strokeDash": [4, 4]},
                        "encoding": {"x": x, "y": y},
                    },
                    {"mark": {"type": "line", "color": "var(--t5)"}, "encoding": {"x": x, "y": y}},
                    {
                        "mark": {"type": "circle", "color": "var(--t5)", "opacity": 1},
                        "encoding": {
                            "x": x,
                            "y": y,
                            "size": {"field": "samples", "type": "quantitative", "legend": None},
                        },
                    },
                ],
            },
        }
    )


def _percent(title: str) -> Spec:
    return {"title": title, "format": ".0%", "tickCount": 5}


def intervals(rows: Sequence[tuple[str, float, float, float]], title: str) -> str:
    """Draw differences with their confidence intervals.

    Args:
        rows: (name, difference, low, high), fractions of 1.
        title: Title of the axis.

    Returns:
        The SVG.
    """
    values = [
        {"name": name, "difference": 100 * difference, "low": 100 * low, "high": 100 * high}
        for name, difference, low, high in rows
    ]
    y = {
        "field": "name",
        "type": "nominal",
        "sort": [name for name, *_ in rows],
        "title": None,
        "axis": {"domain": False, "ticks": False},
    }
    x = {"field": "low", "type": "quantitative", "axis": {"title": title}}
    return draw(
        {
            "data": {"values": values},
            "width": 460,
            "height": {"step": 22},
            "layer": [
                {
                    "data": {"values": [{"zero": 0}]},
                    "mark": {"type": "rule", "color": "var(--soft)", "strokeDash": [4, 4]},
                    "encoding": {"x": {"field": "zero", "type": "quantitative"}},
                },
                {
                    "mark": {"type": "rule", "strokeWidth": 3, "color": "var(--t5)"},
                    "encoding": {"x": x, "x2": {"field": "high"}, "y": y},
                },
                {
                    "mark": {"type": "point", "filled": True, "size": 60, "color": "var(--ink)", "opacity": 1},
                    "encoding": {"x": {"field": "difference", "type": "quantitative"}, "y": y},
                },
            ],
        }
    )


def trend_multiples(
    metrics: Sequence[tuple[Metric, str, str]],
    points: Sequence[TrendPoint],
    colors: Mapping[str, str],
    selected: Sequence[str],
    curves: Curves | None,
    group: Group,
    lines: Mapping[Metric, tuple[float, float]],
) -> str:
    """Draw one chart for each metric by top-1 accuracy: the bands of the reference models, the models, and a fit.

    Args:
        metrics: (metric, title, subtitle).
        points: The models.
        colors: Colors by label.
        selected: IDs of the analyses to highlight.
        curves: Quantiles of the reference models; None if there are none.
        group: The group of the curves.
        lines: Slope and intercept of the fit over all models, by metric.

    Returns:
        The SVG.
    """
    accuracies = [point.top1_accuracy for point in points]
    if curves is not None:
        accuracies += [curves.lowest, curves.highest] if not points else []
    low, high = (min(accuracies), max(accuracies)) if accuracies else (0.0, 1.0)
    margin = max(0.02, 0.08 * (high - low))
    domain = [100 * max(0.0, low - margin), 100 * min(1.0, high + margin)]
    metric_charts = [
        _metric_chart(metric, title, subtitle, points, colors, selected, curves, group, domain, lines.get(metric))
        for metric, title, subtitle in metrics
    ]
    return draw({"concat": metric_charts, "columns": 3, "spacing": 24})


def _metric_chart(
    metric: Metric,
    title: str,
    subtitle: str,
    points: Sequence[TrendPoint],
    colors: Mapping[str, str],
    selected: Sequence[str],
    curves: Curves | None,
    group: Group,
    domain: list[float],
    line: tuple[float, float] | None,
) -> Spec:
    x = {
        "field": "x",
        "type": "quantitative",
        "scale": {"domain": domain, "nice": False},
        "axis": {"title": "top-1 accuracy, %", "tickCount": 5},
    }
    y = {
        "field": "y",
        "type": "quantitative",
        "scale": {"zero": metric is not Metric.MULTI_LABEL_ACCURACY, "nice": True},
        "axis": {"title": "%" if metric is Metric.MULTI_LABEL_ACCURACY else "% of top-1 errors", "tickCount": 5},
    }
    layers = []
    if curves is not None:
        layers += _bands(curves, group, metric, domain, x, y)
    values = [
        {
            "x": round(100 * point.top1_accuracy, 2),
            "y": round(100 * point.values[metric], 2),
            "fill": colors.get(point.label, "var(--dot)"),
        }
        for point in points
        if metric in point.values
    ]
    layers.append(
        {
            "data": {"values": values},
            "mark": {"type": "point", "filled": True, "size": 26 if len(values) < 200 else 9, "opacity": 0.8},
            "encoding": {"x": x, "y": y, "color": _literal_color("fill")},
        }
    )
    if line is not None:
        ends = _ends(line, [point.top1_accuracy for point in points if metric in point.values])
        layers.append(
            {
                "data": {"values": ends},
                "mark": {"type": "line", "color": "var(--ink)", "strokeDash": [6, 3], "strokeWidth": 1.5, "clip": True},
                "encoding": {"x": x, "y": y},
            }
        )
    highlighted = [
        {"x": 100 * point.top1_accuracy, "y": 100 * point.values[metric]}
        for point in points
        if point.id and point.id in selected and metric in point.values
    ]
    layers.append(
        {
            "data": {"values": highlighted},
            "mark": {"type": "point", "shape": "diamond", "size": 130, "stroke": "var(--ink)", "strokeWidth": 2.5},
            "encoding": {"x": x, "y": y},
        }
    )
    return {
        "title": {
            "text": wrap(title, TITLE_WIDTH),
            "subtitle": wrap(subtitle, SUBTITLE_WIDTH),
            "anchor": "start",
            "subtitleColor": "var(--soft)",
        },
        "width": 250,
        "height": 170,
        "layer": layers,
    }


def _ends(line: tuple[float, float], accuracies: Sequence[float]) -> Rows:
    """Return the ends of a line over the range of the models, clipped at zero."""
    slope, intercept = line
    low, high = min(accuracies), max(accuracies)
    if slope and low < -intercept / slope < high:
        low, high = (max(low, -intercept / slope), high) if slope > 0 else (low, min(high, -intercept / slope))
    return [{"x": 100 * accuracy, "y": 100 * (intercept + slope * accuracy)} for accuracy in (low, high)]


def _bands(curves: Curves, group: Group, metric: Metric, domain: list[float], x: Spec, y: Spec) -> list[Spec]:
    quantiles = 100 * curves.quantiles[group, metric]
    inside = ~np.isnan(quantiles[:, 0])
    inside &= (100 * curves.knots >= domain[0]) & (100 * curves.knots <= domain[1])
    assert len(QUANTILES) == quantiles.shape[1], "This is a bug: expected the quantiles from 1 to 99 %"
    knots = 100 * curves.knots[inside]
    layers: list[Spec] = []
    for low, high in _BANDS:
        values = [
            {"x": round(knot, 2), "y": round(bottom, 2), "top": round(top, 2)}
            for knot, bottom, top in zip(
                knots.tolist(), quantiles[inside, low].tolist(), quantiles[inside, high].tolist(), strict=True
            )
        ]
        layers.append(
            {
                "data": {"values": values},
                "mark": {"type": "area", "color": "var(--band)", "opacity": 0.5},
                "encoding": {"x": x, "y": y, "y2": {"field": "top"}},
            }
        )
    median = [
        {"x": round(knot, 2), "y": round(value, 2)}
        for knot, value in zip(knots.tolist(), quantiles[inside, 49].tolist(), strict=True)
    ]
    layers.append(
        {
            "data": {"values": median},
            "mark": {"type": "line", "color": "var(--soft)", "strokeWidth": 1},
            "encoding": {"x": x, "y": y},
        }
    )
    return layers

"""Charts: Vega-Lite specifications, drawn as inline SVG by vl-convert, without a network or a browser.

Colors are CSS variables of the page, so that one chart suits light mode, dark mode, and print. Screen readers get the
links of a chart, and the description and the table that the templates add.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

from errata.messages import format_count, format_percentage

from service.domain import Calibration, ErrorType, Interval
from service.report.chart_process import CHART_PROCESS
from service.report.messages.formatting import describe_change
from service.report.named_marks import NAMED, link_marks, name_mark

_chart_numbers = itertools.count(1)  # make the IDs in one page unique
_PADDING = {"left": 40, "right": 24, "top": 4, "bottom": 4}  # pixels, for fonts that are wider than those of vl-convert
_MAX_LABEL_START = 0.42  # share of the axis; a bar that starts further right has its label on the left
_MAX_COLUMNS = 4  # groups side by side
_GROUP_WIDTH = 185  # pixels
_MIN_DOT, _MAX_DOT = 30, 300  # area of the dots of bins, in square pixels
Spec = dict[str, Any]
NO_LINKS: Mapping[Any, str] = {}

LABEL_COLORS = tuple(f"var(--c{index})" for index in range(1, 9))


def type_color(error_type: ErrorType) -> str:
    """Return the color of an error type."""
    return f"var(--t{error_type.id})"


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
    """Draw a specification as SVG with unique IDs, without scripts and external references.

    Args:
        spec: The Vega-Lite specification; marks with the encoding `named_marks.NAMED` get names and links.

    Returns:
        The SVG, hidden from screen readers if it contains no link.
    """
    svg, has_links = link_marks(CHART_PROCESS.draw({**spec, "config": _config(), "padding": _PADDING}))
    prefix = f"p{next(_chart_numbers)}-"
    svg = re.sub(r"<[^>]*>", lambda tag: _prefix_ids(tag[0], prefix), svg)
    return re.sub(
        r"<svg [^>]*?width=\"([\d.]+)\" height=\"([\d.]+)\"[^>]*>", partial(_svg_tag, has_links), svg, count=1
    )


def _prefix_ids(tag: str, prefix: str) -> str:
    """Return a tag with a prefix on its ID and on the IDs that it refers to."""
    return re.sub(r'\bid="', f'id="{prefix}', tag).replace("url(#", f"url(#{prefix}")


def _svg_tag(has_links: bool, match: re.Match[str]) -> str:
    box = f'width="{match[1]}" viewBox="0 0 {match[1]} {match[2]}"'
    hidden = "" if has_links else ' aria-hidden="true" focusable="false"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box}{hidden}>'


def breakdown(
    groups: Sequence[tuple[str, Sequence[tuple[ErrorType, int | None]]]],
    links: Mapping[tuple[str, ErrorType], str] = NO_LINKS,
) -> str:
    """Draw the error breakdown: a waterfall of the error types in each group.

    A bar starts where the bar of the previous type ends, so that the bars of a group span all of its errors. The whole
    row of a bar is its link, because a bar can be narrower than a pixel.

    Args:
        groups: Name of each group with its (type, count) in the order of the rules. A count of None means that the
            rule was not evaluated.
        links: URLs by name of the group and type.

    Returns:
        The SVG.
    """
    rows: list[Spec] = []
    for group, types in groups:
        total = sum(count or 0 for _, count in types)
        start = 0.0
        for error_type, count in types:
            width = (count or 0) / total if total else 0.0
            text = "–" if count is None else f"{format_count(count)} ({format_percentage(width)})" if total else "0"
            rows.append(
                {
                    "group": group,
                    "type": error_type.title,
                    "start": start,
                    "end": start + width,
                    "fill": type_color(error_type),
                    "text": text,
                    "left": start > _MAX_LABEL_START,
                    "mark": name_mark(f"{group}, {error_type.title}: {text}", links.get((group, error_type), "")),
                }
            )
            start += width
    y = _category_axis("type", [error_type.title for error_type, _ in groups[0][1]])
    x = {
        "field": "start",
        "type": "quantitative",
        "scale": {"domain": [0, 1]},
        "axis": {"title": "percentage of errors", "format": ".0%", "values": [0, 0.5, 1]},
    }
    return draw(
        {
            "data": {"values": rows},
            **_facets([group for group, _ in groups]),
            "spec": {
                "width": _GROUP_WIDTH,
                "height": {"step": 26},
                "layer": [
                    {
                        "mark": {"type": "bar", "height": 16},
                        "encoding": {"x": x, "x2": {"field": "end"}, "y": y, "color": literal_color("fill")},
                    },
                    _bar_label(y, "left", "start", "right", -4),
                    _bar_label(y, "!left", "end", "left", 4),
                    link_area({"x": {"datum": 0, "type": "quantitative"}, "x2": {"datum": 1}, "y": y}),
                ],
            },
        }
    )


def _facets(groups: Sequence[str]) -> Spec:
    """Return the layout of the groups: side by side, wrapped into several rows if there are more than _MAX_COLUMNS."""
    if len(groups) <= _MAX_COLUMNS:
        return {"facet": {"column": {"field": "group", "sort": [*groups]}}}
    header = {"labelLimit": _GROUP_WIDTH}
    return {"facet": {"field": "group", "sort": [*groups], "header": header}, "columns": _MAX_COLUMNS}


def _bar_label(y: Spec, condition: str, field: str, align: str, offset: int) -> Spec:
    test = f"!datum.{condition[1:]}" if condition.startswith("!") else f"datum.{condition}"
    return {
        "transform": [{"filter": test}],
        "mark": {"type": "text", "align": align, "dx": offset, "baseline": "middle", "fontSize": 11},
        "encoding": {"x": {"field": field, "type": "quantitative"}, "y": y, "text": {"field": "text"}},
    }


def link_area(encoding: Spec) -> Spec:
    """Return an invisible layer that lies over other marks and has the names and links of these marks."""
    return {"mark": {"type": "bar", "color": "transparent"}, "encoding": {**encoding, **NAMED}}


def literal_color(field: str) -> Spec:
    """Return the color encoding for a data field whose values are CSS colors."""
    return {"field": field, "type": "nominal", "scale": None, "legend": None}


def gains(
    rows: Sequence[tuple[ErrorType, float | None, float | None]],
    titles: tuple[str, str],
    links: Mapping[ErrorType, str] = NO_LINKS,
) -> str:
    """Draw the accuracy gain without errors of each type.

    Args:
        rows: (type, top-1 gain, multi-label gain), gains as fractions of 1. None means that the rule was not evaluated,
            or that the gain in this accuracy is undefined.
        titles: Titles of the two columns. A column without any gain is not drawn if the other one has gains.
        links: URLs by type.

    Returns:
        The SVG.
    """
    drawn = {name for _, *values in rows for name, gain in zip(titles, values, strict=True) if gain is not None}
    shown = [name for name in titles if name in drawn or not drawn]
    values = [
        {
            "type": error_type.title,
            "accuracy": name,
            "gain": 100 * (gain or 0.0),
            "fill": type_color(error_type),
            "text": (text := "–" if gain is None else f"{100 * gain:.2f}"),
            "mark": name_mark(f"{name}, {error_type.title}: {text}", links.get(error_type, "")),
        }
        for error_type, *type_gains in rows
        for name, gain in zip(titles, type_gains, strict=True)
        if name in shown
    ]
    y = _category_axis("type", [error_type.title for error_type, *_ in rows])
    x = {"field": "gain", "type": "quantitative", "axis": {"title": "percentage points", "tickCount": 4}}
    return draw(
        {
            "data": {"values": values},
            "facet": {"column": {"field": "accuracy", "sort": shown}},
            "spec": {
                "width": 330 if len(shown) > 1 else 720,  # the page scales the chart to its width
                "height": {"step": 24},
                "layer": [
                    {
                        "mark": {"type": "bar", "height": 14},
                        "encoding": {"x": x, "y": y, "color": literal_color("fill")},
                    },
                    {
                        "mark": {"type": "text", "align": "left", "dx": 4, "baseline": "middle"},
                        "encoding": {"x": x, "y": y, "text": {"field": "text"}},
                    },
                    link_area({"x": {"value": 0}, "x2": {"value": "width"}, "y": y}),
                ],
            },
        }
    )


def reliability(calibration: Calibration, titles: tuple[str, str], links: Sequence[str] = ()) -> str:
    """Draw a reliability diagram for top-1 and multi-label correctness.

    Each dot is a bin, with its number of images. Bins with few images have a visible dot too.

    Args:
        calibration: The bins.
        titles: Names of both kinds of correctness.
        links: URLs of the bins.

    Returns:
        The SVG.
    """
    values = [
        {
            "confidence": bin_.confidence,
            "accuracy": accuracy,
            "what": title,
            "samples": bin_.num_samples,
            "label": _short_count(bin_.num_samples),
            "mark": name_mark(
                f"{title}: confidence {format_percentage(bin_.confidence)}, correct {format_percentage(accuracy)} of "
                f"{format_count(bin_.num_samples)} images",
                link,
            ),
        }
        for bin_, link in zip(calibration.bins, links or [""] * len(calibration.bins), strict=True)
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
                "width": 340,
                "height": 240,
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
                            **NAMED,
                            "x": x,
                            "y": y,
                            "size": {
                                "field": "samples",
                                "type": "quantitative",
                                "legend": None,
                                "scale": {"range": [_MIN_DOT, _MAX_DOT]},
                            },
                        },
                    },
                    {
                        "mark": {"type": "text", "fontSize": 9, "dy": -13},
                        "encoding": {"x": x, "y": y, "text": {"field": "label", "type": "nominal"}},
                    },
                ],
            },
        }
    )


def _short_count(count: int) -> str:
    """Return a count with at most three digits, such as `1.2k`."""
    if count < 1000:
        return str(count)
    return f"{count / 1000:.1f}k" if count < 9950 else f"{count / 1000:.0f}k"


def _category_axis(field: str, order: list[str]) -> Spec:
    return {"field": field, "type": "nominal", "sort": order, "title": None, "axis": {"domain": False, "ticks": False}}


def _percent(title: str) -> Spec:
    return {"title": title, "format": ".0%", "tickCount": 5}


def intervals(rows: Sequence[tuple[str, Interval]], title: str, links: Mapping[str, str] = NO_LINKS) -> str:
    """Draw differences with their confidence intervals. The whole row of an interval is its link.

    Args:
        rows: (name, interval), fractions of 1.
        title: Title of the axis.
        links: URLs by name.

    Returns:
        The SVG.
    """
    values = [
        {
            "name": name,
            "difference": 100 * interval.difference,
            "low": 100 * interval.low,
            "high": 100 * interval.high,
            "mark": name_mark(f"{name}: {describe_change(interval)}", links.get(name, "")),
        }
        for name, interval in rows
    ]
    y = _category_axis("name", [name for name, _ in rows])
    axis = {"title": title, "tickCount": 7, "labelFlush": False, "labelSeparation": 8}
    x = {"field": "low", "type": "quantitative", "axis": axis}
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
                link_area({"x": {"value": 0}, "x2": {"value": "width"}, "y": y}),
            ],
        }
    )

"""Charts of results, made by Altair from `errata-client[pandas]`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from errata import frames
from errata import v1 as pb
from errata.error_types import error_keys, find_error_type, parse_key, title_of
from errata.errors import InvalidRequest
from errata.groups import ALL, group_titles, sort_groups
from errata.messages import AXIS_NAMES
from errata.names import dataset_id
from errata.trend_metrics import metric_axes, model_title, value_title

if TYPE_CHECKING:
    import altair

UNKNOWN_COLOR = "#8e44ad"  # of error types of a newer service


def analysis_chart(analysis: pb.Analysis) -> "altair.Chart":
    """Return a stacked bar for each group, with the portions of the error types among the top-1 errors."""
    alt = _altair()
    counts = [key for group in analysis.summary.groups.values() for key in group.counts]
    evaluated = [key for key in error_keys(counts) if key not in analysis.summary.abstained]
    titles = [title_of(key) for key in evaluated]
    names = group_titles(sort_groups(analysis.summary.groups))
    rows = [
        {
            "group": names[row["group"]],
            "error type": title_of(row["error_type"]),
            "order": evaluated.index(row["error_type"]),
            "images": row["count"],
            "portion": row["portion_of_top1_errors"],
        }
        for row in frames.analysis_rows(analysis)
        if row["error_type"] in evaluated
    ]
    scale = alt.Scale(domain=titles, range=[_color(key) for key in evaluated])
    return (
        alt.Chart(_data(alt, rows), title=f"{analysis.display_name} on {dataset_id(analysis.dataset)}")
        .mark_bar()
        .encode(
            y=alt.Y("group:N", title=None, sort=list(names.values())),
            x=alt.X("portion:Q", title="portion of errors", stack="zero", axis=alt.Axis(format="%")),
            color=alt.Color("error type:N", scale=scale, sort=titles),
            order=alt.Order("order:Q"),
            tooltip=["group:N", "error type:N", "images:Q", alt.Tooltip("portion:Q", format=".1%")],
        )
        .properties(width=500)
    )


def comparison_chart(comparison: pb.Comparison) -> "altair.LayerChart":
    """Return a heat map: the number of samples for each error type in A and in B."""
    alt = _altair()
    rows = [
        {"A": title_of(row["error_type_a"]), "B": title_of(row["error_type_b"]), "images": row["count"]}
        for row in frames.comparison_rows(comparison)
        if row["group"] == ALL
    ]
    titles = list(dict.fromkeys(row["A"] for row in rows))  # the rows have the order of the rules
    base = alt.Chart(_data(alt, rows), title=f"From {comparison.display_name_a} to {comparison.display_name_b}").encode(
        y=alt.Y("A:N", title=f"A: {comparison.display_name_a}", sort=titles),
        x=alt.X("B:N", title=f"B: {comparison.display_name_b}", sort=titles, axis=alt.Axis(labelAngle=-40)),
        tooltip=["A:N", "B:N", "images:Q"],
    )
    color = alt.Color("images:Q", scale=alt.Scale(type="symlog", scheme="blues"))
    most = max((row["images"] for row in rows), default=0)
    ink = alt.condition(f"datum.images > {most**0.65}", alt.value("white"), alt.value("black"))
    text = base.mark_text().encode(text=alt.Text("images:Q", format=","), color=ink)
    return alt.layer(base.mark_rect().encode(color=color), text).properties(width=440, height=220)


def trend_chart(trend: pb.Trend, metric: str) -> "altair.LayerChart":
    """Return a chart with a point for each model, and the range (5 to 95 %) and median of published models by accuracy.

    The horizontal axis is the accuracy that belongs to the metric.

    Args:
        trend: The models.
        metric: The name of a metric, such as `model_failure`.
    """
    name = parse_key(metric)
    available = sorted({key for model in trend.models for key in model.values})
    if name not in available:
        raise InvalidRequest(
            f"Unknown metric {metric!r:.80}. Expected one of: {', '.join(available) or 'none (no models)'}.",
            field="metric",
        )
    alt = _altair()
    axis = metric_axes(trend).get(name, ("top1_accuracy", ""))[0]
    accuracy, title = AXIS_NAMES.get(axis, axis), value_title(trend, name)
    rows = [
        {
            "model": model_title(model),
            "label": model.label or ("requested" if model.requested else "other models"),
            accuracy: model.multi_label_accuracy if axis == "multi_label_accuracy" else model.top1_accuracy,
            "value": model.values[name],
        }
        for model in trend.models
        if name in model.values
    ]
    x = alt.X(f"{accuracy}:Q", scale=alt.Scale(zero=False), axis=alt.Axis(format="%"))
    points = (
        alt.Chart(_data(alt, rows), title=f"Models on {dataset_id(trend.dataset)}")
        .mark_point(filled=True, opacity=1, size=60)
        .encode(
            x=x,
            y=alt.Y("value:Q", title=title, scale=alt.Scale(zero=False), axis=alt.Axis(format="%")),
            color=alt.Color("label:N", title=trend.by or None),
            tooltip=[
                "model:N",
                "label:N",
                alt.Tooltip(f"{accuracy}:Q", format=".1%"),
                alt.Tooltip("value:Q", title=title, format=".1%"),
            ],
        )
    )
    quantiles = [
        {
            accuracy: row.accuracy if row.HasField("accuracy") else row.top1_accuracy,
            "q05": row.q05,
            "q50": row.q50,
            "q95": row.q95,
        }
        for band in trend.bands
        if band.metric == name
        for row in band.quantiles
    ]
    published = alt.Chart(_data(alt, quantiles))
    area = published.mark_area(opacity=0.2, color="gray").encode(x=x, y=alt.Y("q05:Q", title=title), y2="q95:Q")
    median = published.mark_line(color="gray").encode(x=x, y=alt.Y("q50:Q", title=title))
    return alt.layer(*([area, median] if quantiles else []), points).properties(width=500)


def _color(key: str) -> str:
    error_type = find_error_type(key)
    return error_type.row.colors.light if error_type else UNKNOWN_COLOR


def _altair() -> Any:
    return frames.import_optional("altair")


def _data(alt: Any, rows: Iterable[dict[str, Any]]) -> Any:
    """Return the rows as inline data, so that a chart needs no data frame."""
    return alt.Data(values=list(rows))

"""The content of a trend as records for the template."""

from dataclasses import dataclass

from errata.groups import group_title, top1_title
from errata.messages import (
    METRIC_NAMES,
    MISSING,
    format_count,
    format_percentage,
    format_points,
    format_signed,
)

from service.domain import Axis, LabelFit, Metric, Trend
from service.report import charts
from service.report.elements import Chart, make_chart
from service.report.messages.trend import (
    ALL_METRICS,
    AS_IN_THE_PAPER,
    GRAY_DOTS_NOTE,
    GROUPING_NAMES,
    axis_name,
    fit_text,
    model_title,
    portion_name,
    portions_note,
    trend_description,
    trend_notes,
    trend_summary,
)
from service.report.percentile_view import PercentileRow, percentile_rows
from service.report.trend_chart import MetricTitle, TrendStyle, trend_multiples

MAX_MODELS = 200  # rows of the table
MAX_FITS = 500
MAX_SELECTED = 20  # models with a diamond


@dataclass(frozen=True)
class ModelRow:
    """One model."""

    id: str  # empty: a reference model
    title: str
    label: str
    top1: str
    values: tuple[str, ...]  # value of each metric
    is_selected: bool
    owner: str  # empty: unknown


@dataclass(frozen=True)
class PercentileTable:
    """The percentiles of one analysis."""

    title: str
    rows: tuple[PercentileRow, ...]


@dataclass(frozen=True)
class FitRow:
    """The linear fit of one metric over the models with one label."""

    metric: str
    label: str
    models: str
    slope: str
    r_squared: str
    shift: str


@dataclass(frozen=True)
class ShiftRow:
    """The mean distances of the models with one label from the reference at equal accuracy."""

    label: str
    models: str
    shifts: tuple[str, ...]  # difference of each metric, in percentage points


@dataclass(frozen=True)
class LegendEntry:
    """The color of a label."""

    label: str
    color: int  # number of the color, from 1; 0: the color of all other labels


@dataclass(frozen=True)
class TrendView:
    """The content of a trend."""

    title: str
    summary: str
    dataset: str
    group: str
    by: str
    x: str  # accuracy of all axes; empty: as in the paper
    y: str  # the only metric with a chart; empty: all metrics
    group_names: tuple[tuple[str, str], ...]
    by_names: tuple[tuple[str, str], ...]
    x_names: tuple[tuple[str, str], ...]
    y_names: tuple[tuple[str, str], ...]
    selected_ids: tuple[str, ...]
    notes: tuple[str, ...]
    charts: tuple[Chart, ...]  # one for each metric; empty: there are no models
    legend: tuple[LegendEntry, ...]
    num_reference: str  # reference models; empty: none
    percentiles: tuple[PercentileTable, ...]
    top1_title: str
    metric_titles: tuple[str, ...]
    portions_note: str  # what the metrics are portions of
    models: tuple[ModelRow, ...]
    num_models: int
    shifts: tuple[ShiftRow, ...]  # one for each label
    fits: tuple[FitRow, ...]
    evidence: str
    datasets: tuple[tuple[str, str], ...] = ()  # data sets that can be selected
    owner: str = ""  # of the analyses that are not selected; empty: any


def trend_view(trend: Trend, y: str = "", has_links: bool = False) -> TrendView:
    """Convert a trend for display.

    Args:
        trend: The trend.
        y: The only metric with a chart; empty: all metrics.
        has_links: Whether the dots of analyses are links to their pages.

    Returns:
        The content of the page or of the file.
    """
    metrics = list(trend.metrics)
    labels = _labels(trend)
    colors = {label: charts.LABEL_COLORS[index] for index, label in enumerate(labels[: len(charts.LABEL_COLORS)])}
    analyses = [point for point in trend.points if point.id]
    selected_ids = [point.id for point in analyses if point.is_selected][:MAX_SELECTED]
    style = TrendStyle(colors, selected_ids, has_links)
    x = next(iter(trend.axes.values())).value if len({*trend.axes.values()}) == 1 else ""
    charts_of = [metric for metric in metrics if y in ("", metric)]
    num_reference = trend.curves.num_models if trend.curves else 0
    return TrendView(
        title=f"Error types and accuracy: {trend.dataset}",
        summary=trend_summary(len(analyses), len(trend.points) - len(analyses), num_reference, trend.owner),
        dataset=trend.dataset,
        group=trend.group,
        by=trend.by,
        owner=trend.owner,
        group_names=tuple((group, group_title(group)) for group in trend.groups),
        x=x,
        y=y,
        by_names=_grouping_names(trend),
        x_names=(("", AS_IN_THE_PAPER), *((axis.value, axis_name(axis)) for axis in Axis)),
        y_names=(("", ALL_METRICS), *((metric, METRIC_NAMES[metric]) for metric in metrics)),
        selected_ids=tuple(selected_ids),
        notes=tuple(trend_notes(trend)),
        charts=_charts(trend, charts_of, style) if trend.points or trend.curves is not None else (),
        legend=tuple(LegendEntry(label, index + 1 if label in colors else 0) for index, label in enumerate(labels)),
        num_reference=format_count(num_reference) if num_reference else "",
        percentiles=tuple(
            PercentileTable(
                model_title(point),
                percentile_rows(point.percentile_ranks, trend.has_rejected_targets),
            )
            for point in analyses
            if point.id in selected_ids and point.percentile_ranks
        ),
        top1_title=top1_title(trend.group),
        metric_titles=tuple(METRIC_NAMES[metric] for metric in metrics),
        portions_note=" ".join(
            [GRAY_DOTS_NOTE] * (not colors and len(analyses) < len(trend.points))
            + [portions_note(bool(x), trend.has_rejected_targets)]
        ),
        models=tuple(
            ModelRow(
                point.id,
                model_title(point),
                point.label,
                format_percentage(point.accuracies[Axis.TOP1]),
                tuple(format_percentage(point.values.get(metric)) for metric in metrics),
                point.id in selected_ids,
                point.owner,
            )
            for point in trend.points[:MAX_MODELS]
        ),
        num_models=len(trend.points),
        shifts=_shift_rows(trend, labels, metrics),
        fits=tuple(_fit_row(fit) for fit in trend.fits[:MAX_FITS]),
        evidence=trend.evidence,
    )


def _grouping_names(trend: Trend) -> tuple[tuple[str, str], ...]:
    """Return the labels that can group models: general labels, labels of the analyses, and the current label."""
    keys = (*trend.label_keys, *filter(None, [trend.by]))
    return (*GROUPING_NAMES.items(), *((key, key) for key in dict.fromkeys(keys) if key not in GROUPING_NAMES))


def _charts(trend: Trend, metrics: list[Metric], style: TrendStyle) -> tuple[Chart, ...]:
    fits = {fit.metric: fit.fit for fit in trend.fits if not fit.label}
    titles = [
        MetricTitle(
            metric=metric,
            title=METRIC_NAMES[metric],
            subtitle=fit_text(fit),
            x=axis_name(trend.axes[metric]),
            y=portion_name(metric, trend.has_rejected_targets),
            line=None if fit is None else (fit.slope, fit.intercept),
        )
        for metric in metrics
        for fit in [fits.get(metric)]
    ]
    drawn = trend_multiples(titles, trend, style)
    return tuple(
        make_chart(svg, trend_description(title.title, title.x, title.subtitle))
        for svg, title in zip(drawn, titles, strict=True)
    )


def _labels(trend: Trend) -> list[str]:
    """Return the labels, sorted by their number of models."""
    counts = {fit.label: fit.num_models for fit in trend.fits if fit.label}
    return sorted(counts, key=lambda label: (-counts[label], label))


def _shift_rows(trend: Trend, labels: list[str], metrics: list[Metric]) -> tuple[ShiftRow, ...]:
    fits_by_key = {(fit.label, fit.metric): fit for fit in trend.fits}
    rows = []
    for label in labels:
        fits = [fits_by_key.get((label, metric)) for metric in metrics]
        num_models = max((fit.num_models for fit in fits if fit is not None), default=0)
        shifts = [MISSING if fit is None or fit.shift is None else format_points(fit.shift) for fit in fits]
        rows.append(ShiftRow(label, format_count(num_models), tuple(shifts)))
    return tuple(rows)


def _fit_row(label_fit: LabelFit) -> FitRow:
    fit = label_fit.fit
    return FitRow(
        metric=METRIC_NAMES[label_fit.metric],
        label=label_fit.label or "all models",
        models=format_count(label_fit.num_models),
        slope=MISSING if fit is None else format_signed(fit.slope),
        r_squared=MISSING if fit is None or fit.r_squared is None else f"{fit.r_squared:.2f}",
        shift=MISSING if label_fit.shift is None else format_points(label_fit.shift),
    )

"""What the page of a trend shows, as records that a template can walk."""

from dataclasses import dataclass

from errata.messages import GROUP_NAMES, METRIC_NAMES, format_count, format_percentage, format_points, format_signed
from markupsafe import Markup

from service.domain import Group, LabelFit, Metric, Trend
from service.report import charts
from service.report.messages import BY_WORDS, fit_words, place, trend_headline, trend_notes, trend_told
from service.report.view import Picture

SHOWN_MODELS = 200
SHOWN_FITS = 500
MARKED = 20  # models that stand out
OTHERS = "var(--dot)"


@dataclass(frozen=True)
class ModelRow:
    """One model."""

    id: str  # empty: a published one
    title: str
    label: str
    top1: str
    values: tuple[str, ...]  # of each metric
    marked: bool


@dataclass(frozen=True)
class StandingsOf:
    """Where one analysis stands."""

    title: str
    rows: tuple[tuple[str, str, str], ...]  # what, value, place


@dataclass(frozen=True)
class FitRow:
    """The models with one label, in one respect."""

    metric: str
    label: str
    models: str
    slope: str
    r_squared: str
    shift: str


@dataclass(frozen=True)
class ShiftRow:
    """How far the models with one label lie above the line through all."""

    label: str
    models: str
    shifts: tuple[str, ...]  # of each metric, in points


@dataclass(frozen=True)
class Key:
    """The color of a label."""

    label: str
    color: int  # number of the color; 0: that of all others


@dataclass(frozen=True)
class TrendView:
    """All that the page of a trend shows."""

    title: str
    headline: str
    dataset: str
    group: str  # as the form has it
    by: str
    group_names: tuple[tuple[str, str], ...]
    by_names: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    picture: Picture | None  # None: there are no models
    keys: tuple[Key, ...]
    published: str  # empty: none
    standings: tuple[StandingsOf, ...]
    metric_titles: tuple[str, ...]
    models: tuple[ModelRow, ...]
    num_models: int
    shifts: tuple[ShiftRow, ...]  # a row a label
    fits: tuple[FitRow, ...]
    evidence: str


def trend_view(found: Trend, marked: str = "") -> TrendView:
    """Return what the page shows; marked: the id of an analysis that stands out besides those asked for."""
    metrics = [metric for metric in Metric if metric is not Metric.POOLED or found.abstained]
    if found.curves is None:  # of a silent rule there is nothing to show
        metrics = [metric for metric in metrics if any(metric in point.values for point in found.points)]
    labels = _labels(found)
    colors = {label: charts.LABEL_COLORS[index] for index, label in enumerate(labels[: len(charts.LABEL_COLORS)])}
    overall = {fit.metric: fit for fit in found.fits if not fit.label}
    own = [point for point in found.points if point.id]
    stand_out = [point.id for point in own if point.id == marked or point.asked][:MARKED]
    lines = {metric: (each.fit.slope, each.fit.intercept) for metric, each in overall.items() if each.fit is not None}
    pictured = bool(found.points) or found.curves is not None
    return TrendView(
        title=f"Errors over accuracy: {found.dataset}",
        headline=trend_headline(len(own), len(found.points) - len(own), found.curves.num_models if found.curves else 0),
        dataset=found.dataset,
        group=found.group.value,
        by=found.by,
        group_names=tuple((group.value, GROUP_NAMES[group]) for group in Group),
        by_names=tuple(BY_WORDS.items()),
        notes=tuple(trend_notes(found)),
        picture=Picture(
            Markup(  # noqa: S704 - drawn by us
                charts.trend_multiples(
                    [(metric, METRIC_NAMES[metric], _fitted(overall.get(metric))) for metric in metrics],
                    found.points,
                    colors,
                    stand_out,
                    found.curves,
                    found.group,
                    lines,
                )
            ),
            tuple(trend_told(METRIC_NAMES[metric], _fitted(overall.get(metric))) for metric in metrics),
        )
        if pictured
        else None,
        keys=tuple(Key(label, index + 1 if label in colors else 0) for index, label in enumerate(labels)),
        published=format_count(found.curves.num_models) if found.curves else "",
        standings=tuple(
            StandingsOf(
                point.title,
                tuple(
                    (METRIC_NAMES[standing.metric], format_percentage(standing.value), place(standing))
                    for standing in point.standings
                ),
            )
            for point in own
            if point.id in stand_out and point.standings
        ),
        metric_titles=tuple(METRIC_NAMES[metric] for metric in metrics),
        models=tuple(
            ModelRow(
                point.id,
                point.title,
                point.label,
                format_percentage(point.top1_accuracy),
                tuple(format_percentage(point.values.get(metric)) for metric in metrics),
                point.id in stand_out,
            )
            for point in found.points[:SHOWN_MODELS]
        ),
        num_models=len(found.points),
        shifts=_shifts(found, labels, metrics),
        fits=tuple(_fit_row(fit) for fit in found.fits[:SHOWN_FITS]),
        evidence=found.evidence,
    )


def _labels(found: Trend) -> list[str]:
    """Return the labels, that with the most models first."""
    counts = {fit.label: fit.num_models for fit in found.fits if fit.label}
    return sorted(counts, key=lambda label: (-counts[label], label))


def _shifts(found: Trend, labels: list[str], metrics: list[Metric]) -> tuple[ShiftRow, ...]:
    by_place = {(fit.label, fit.metric): fit for fit in found.fits}
    rows = []
    for label in labels:
        own = [by_place.get((label, metric)) for metric in metrics]
        most = max((item.num_models for item in own if item is not None), default=0)
        told = ["–" if item is None or item.shift is None else format_points(item.shift) for item in own]
        rows.append(ShiftRow(label, format_count(most), tuple(told)))
    return tuple(rows)


def _fitted(each: LabelFit | None) -> str:
    return fit_words(each.fit if each is not None else None)


def _fit_row(each: LabelFit) -> FitRow:
    fit = each.fit
    return FitRow(
        metric=METRIC_NAMES[each.metric],
        label=each.label or "all models",
        models=format_count(each.num_models),
        slope="–" if fit is None else format_signed(fit.slope),
        r_squared="–" if fit is None or fit.r_squared is None else f"{fit.r_squared:.2f}",
        shift="–" if each.shift is None else format_points(each.shift),
    )

"""The content of a report as records for the template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from errata.messages import (
    ERROR_TYPE_TITLES,
    GROUP_NAMES,
    METRIC_NAMES,
    MISSING,
    SEVERITY_NAMES,
    abstention_notes,
    format_count,
    format_percentage,
    format_points,
)

from service.domain import (
    CLASS_GROUPS,
    SEVERITY,
    TOP1_ERROR_TYPES,
    Analysis,
    BreakdownRow,
    Calibration,
    Confusion,
    ErrorType,
    Group,
    GroupSummary,
    Metric,
    PercentileRank,
    Severity,
    Summary,
    Verdict,
)
from service.report import charts
from service.report.elements import BarSegment, Chart, Property, bar_segments, css_class, make_chart
from service.report.error_table import ErrorTable
from service.report.error_view import ErrorRow, error_row
from service.report.messages.error_types import (
    CALIBRATION_TITLES,
    GAIN_TITLES,
    MULTI_LABEL_ACCURACY_NOTE,
    SEVERE_ERROR_RATE_NOTE,
    SEVERITY_DESCRIPTIONS,
    TOP1_ACCURACY_NOTE,
    breakdown_description,
    calibration_summary,
    counts_description,
    gains_description,
    percentile_note,
    summary_sentence,
)
from service.report.messages.formatting import format_gain
from service.report.messages.trend import percentile_text
from service.taxonomy.classes import class_names

MAX_CLASSES = 25
_SEVERITY_COLORS = {  # each severity has the color of its most frequent error type
    Severity.NONE: ErrorType.MULTI_LABEL,
    Severity.MINOR: ErrorType.FINE_GRAINED,
    Severity.EXPLAINABLE: ErrorType.SPURIOUS_CORRELATION,
    Severity.SEVERE: ErrorType.MODEL_FAILURE,
}
ClassBreakdown = Sequence[tuple[BreakdownRow, Sequence[Group]]]  # rows with the groups of their classes


@dataclass(frozen=True)
class KeyFigure:
    """One of the three numbers below the summary."""

    name: str
    value: str
    note: str
    percentile: str  # among models of similar accuracy; empty: not known


@dataclass(frozen=True)
class CountCell:
    """A count and its percentage of the errors."""

    count: str
    percentage: str


@dataclass(frozen=True)
class GroupRow:
    """The results of one group."""

    group: str
    samples: str
    top1: str
    multi_label: str
    forgiving_minor: str
    forgiving_explainable: str
    errors: str
    types: tuple[CountCell, ...]  # in the order of the rules


@dataclass(frozen=True)
class SeverityRow:
    """The errors of one severity."""

    css_class: str
    title: str
    description: str
    types: str
    count: str
    of_errors: str
    of_images: str


@dataclass(frozen=True)
class GainRow:
    """The accuracy gain without errors of one type, in percentage points."""

    title: str
    css_class: str
    severity: str
    top1: str
    multi_label: str


@dataclass(frozen=True)
class ClassRow:
    """The results of one superclass or class."""

    name: str
    groups: str  # names of the groups, for the filter
    samples: str
    errors: str
    multi_label: str
    failures: str
    segments: tuple[BarSegment, ...]
    description: str  # description of the segments
    counts: tuple[str, ...]  # types 2 to 8
    gain_failures: str
    gain_all: str


@dataclass(frozen=True)
class ConfusionRow:
    """A frequent confusion of two classes."""

    target: str
    predicted: str
    count: str
    types: str
    examples: str


@dataclass(frozen=True)
class BinRow:
    """One bin of the calibration."""

    confidence: str
    samples: str
    mean: str
    top1: str
    multi_label: str


@dataclass(frozen=True)
class ConfidenceRow:
    """The confidence in the predictions of one error type."""

    title: str
    css_class: str
    samples: str
    quartiles: tuple[str, str, str]


@dataclass(frozen=True)
class CalibrationView:
    """The calibration of the model."""

    summary: str
    chart: Chart
    bins: tuple[BinRow, ...]
    by_type: tuple[ConfidenceRow, ...]


@dataclass(frozen=True)
class PercentileRow:
    """The percentile of one metric among reference models of similar accuracy."""

    metric: str
    value: str
    percentile: str


@dataclass(frozen=True)
class SourceRow:
    """The origin of a part of the evidence."""

    name: str
    origin: str
    license: str


@dataclass(frozen=True)
class ReportView:
    """The content of a report."""

    title: str
    summary: str
    key_figures: tuple[KeyFigure, ...]
    warnings: tuple[str, ...]
    abstained: tuple[str, ...]
    breakdown_chart: Chart
    type_titles: tuple[str, ...]
    groups: tuple[GroupRow, ...]
    severities: tuple[SeverityRow, ...]
    gains_chart: Chart
    gains: tuple[GainRow, ...]
    superclasses: tuple[ClassRow, ...]
    classes: tuple[ClassRow, ...]
    num_classes: int  # classes with errors, including those that are not listed
    confusions: tuple[ConfusionRow, ...]
    calibration: CalibrationView | None
    percentiles: tuple[PercentileRow, ...]
    notes: tuple[str, ...]  # about the percentiles
    errors: tuple[ErrorRow, ...]
    table: ErrorTable
    provenance: tuple[Property, ...]
    sources: tuple[SourceRow, ...]


@dataclass(frozen=True)
class ReportData:
    """The results that a report shows."""

    analysis: Analysis
    confusions: Sequence[tuple[Confusion, Sequence[str]]]  # with the names of some images
    superclasses: ClassBreakdown
    classes: ClassBreakdown
    calibration: Calibration | None
    confidence: Mapping[ErrorType, tuple[int, float, float, float]]  # samples and quartiles
    percentiles: Sequence[PercentileRank]
    notes: Sequence[str]
    errors: Sequence[Verdict]  # the worst, with evidence
    table: ErrorTable
    sources: Sequence[SourceRow]
    version: str


def report_view(data: ReportData) -> ReportView:
    """Convert results for display."""
    analysis, summary = data.analysis, data.analysis.summary
    assert summary is not None, "This is a bug: a report needs a finished analysis"
    overall = summary.groups[Group.ALL]
    percentiles = {rank.metric: percentile_text(rank) for rank in data.percentiles if rank.percentile is not None}
    gains = _gains(overall, summary.abstained)
    return ReportView(
        title=analysis.title,
        summary=analysis_summary(analysis.title, summary),
        key_figures=_key_figures(overall, percentiles),
        warnings=analysis.warnings,
        abstained=tuple(abstention_notes(summary.abstained)),
        breakdown_chart=_breakdown_chart(summary),
        type_titles=tuple(ERROR_TYPE_TITLES[error_type] for error_type in TOP1_ERROR_TYPES),
        groups=tuple(_group_row(group, summary.groups[group], summary.abstained) for group in summary.groups),
        severities=_severity_rows(overall),
        gains_chart=make_chart(
            charts.gains(gains, GAIN_TITLES),
            gains_description([(title, top1, multi_label) for _, title, top1, multi_label in gains]),
        ),
        gains=tuple(
            GainRow(
                title,
                css_class(error_type),
                SEVERITY_NAMES[SEVERITY[error_type]],
                format_gain(top1),
                format_gain(multi_label),
            )
            for error_type, title, top1, multi_label in gains
        ),
        superclasses=_class_rows(data.superclasses, summary.abstained),
        classes=_class_rows(data.classes, summary.abstained)[:MAX_CLASSES],
        num_classes=len(_with_errors(data.classes)),
        confusions=tuple(_confusion_row(confusion, examples) for confusion, examples in data.confusions),
        calibration=_calibration_view(data.calibration, data.confidence) if data.calibration is not None else None,
        percentiles=tuple(
            PercentileRow(METRIC_NAMES[rank.metric], format_percentage(rank.value), percentile_text(rank))
            for rank in data.percentiles
        ),
        notes=tuple(data.notes),
        errors=tuple(error_row(verdict) for verdict in data.errors),
        table=data.table,
        provenance=_provenance(analysis, summary, data.version),
        sources=tuple(data.sources),
    )


def analysis_summary(title: str, summary: Summary) -> str:
    """Summarize an analysis in one sentence."""
    overall = summary.groups[Group.ALL]
    counts = dict.fromkeys(tuple(Severity)[1:], 0)
    for error_type in TOP1_ERROR_TYPES:
        counts[SEVERITY[error_type]] += overall.counts[error_type]
    return summary_sentence(title, overall.num_samples, counts, is_upper_bound=bool(summary.abstained))


def _key_figures(overall: GroupSummary, percentiles: Mapping[Metric, str]) -> tuple[KeyFigure, ...]:
    severe = overall.counts[ErrorType.MODEL_FAILURE]
    multi_label_percentile = percentiles.get(Metric.MULTI_LABEL_ACCURACY, "")
    return (
        KeyFigure("top-1 accuracy", format_percentage(overall.top1_accuracy), TOP1_ACCURACY_NOTE, ""),
        KeyFigure(
            "multi-label accuracy",
            format_percentage(overall.multi_label_accuracy),
            MULTI_LABEL_ACCURACY_NOTE,
            f"{multi_label_percentile[0].upper()}{multi_label_percentile[1:]}." if multi_label_percentile else "",
        ),
        KeyFigure(
            "severe error rate",
            format_percentage(severe / overall.num_samples if overall.num_samples else None),
            SEVERE_ERROR_RATE_NOTE,
            percentile_note(percentiles.get(Metric.MODEL_FAILURE, "")),
        ),
    )


def _breakdown_chart(summary: Summary) -> Chart:
    groups = [
        (
            GROUP_NAMES[group],
            [
                (
                    error_type,
                    ERROR_TYPE_TITLES[error_type],
                    None if error_type in summary.abstained else result.counts[error_type],
                )
                for error_type in TOP1_ERROR_TYPES
            ],
        )
        for group, result in summary.groups.items()
    ]
    descriptions = [
        breakdown_description(
            GROUP_NAMES[group],
            result.top1_errors,
            [
                (ERROR_TYPE_TITLES[error_type], result.portions_of_top1_errors.get(error_type, 0.0))
                for error_type in TOP1_ERROR_TYPES
            ],
        )
        for group, result in summary.groups.items()
    ]
    return make_chart(charts.breakdown(groups), *descriptions)


def _group_row(group: Group, result: GroupSummary, abstained: Sequence[ErrorType]) -> GroupRow:
    portions = result.portions_of_top1_errors
    return GroupRow(
        group=GROUP_NAMES[group],
        samples=format_count(result.num_samples),
        top1=format_percentage(result.top1_accuracy),
        multi_label=format_percentage(result.multi_label_accuracy),
        forgiving_minor=format_percentage(result.multi_label_accuracy_forgiving_minor),
        forgiving_explainable=format_percentage(result.multi_label_accuracy_forgiving_explainable),
        errors=format_count(result.top1_errors),
        types=tuple(
            CountCell(MISSING, "")
            if error_type in abstained
            else CountCell(format_count(result.counts[error_type]), format_percentage(portions.get(error_type)))
            for error_type in TOP1_ERROR_TYPES
        ),
    )


def _severity_rows(overall: GroupSummary) -> tuple[SeverityRow, ...]:
    errors, samples = overall.top1_errors, overall.num_samples
    rows = []
    for severity in tuple(Severity)[1:]:
        types = [error_type for error_type in TOP1_ERROR_TYPES if SEVERITY[error_type] is severity]
        count = sum(overall.counts[error_type] for error_type in types)
        rows.append(
            SeverityRow(
                css_class=css_class(_SEVERITY_COLORS[severity]),
                title=SEVERITY_NAMES[severity],
                description=SEVERITY_DESCRIPTIONS[severity],
                types="; ".join(ERROR_TYPE_TITLES[error_type] for error_type in types),
                count=format_count(count),
                of_errors=format_percentage(count / errors if errors else None),
                of_images=format_percentage(count / samples if samples else None),
            )
        )
    return tuple(rows)


def _gains(
    overall: GroupSummary, abstained: Sequence[ErrorType]
) -> list[tuple[ErrorType, str, float | None, float | None]]:
    top1, multi_label = overall.gain_if_fixed_top1, overall.gain_if_fixed_multi_label
    return [
        (error_type, ERROR_TYPE_TITLES[error_type], None, None)
        if error_type in abstained
        else (
            error_type,
            ERROR_TYPE_TITLES[error_type],
            top1.get(error_type, 0.0),
            multi_label.get(error_type, 0.0),
        )
        for error_type in TOP1_ERROR_TYPES
    ]


def _with_errors(rows: ClassBreakdown) -> list[tuple[BreakdownRow, Sequence[Group]]]:
    return [(row, groups) for row, groups in rows if any(row.counts[error_type] for error_type in TOP1_ERROR_TYPES)]


def _class_rows(rows: ClassBreakdown, abstained: Sequence[ErrorType]) -> tuple[ClassRow, ...]:
    """Return the superclasses or classes with errors, sorted by model failures."""
    ordered = sorted(
        _with_errors(rows),
        key=lambda item: (
            -item[0].counts[ErrorType.MODEL_FAILURE],
            item[0].counts[ErrorType.CORRECT] - item[0].num_samples,
            item[0].name,
        ),
    )
    return tuple(_class_row(row, groups, abstained) for row, groups in ordered)


def _class_row(row: BreakdownRow, groups: Sequence[Group], abstained: Sequence[ErrorType]) -> ClassRow:
    return ClassRow(
        name=row.name,
        groups=" ".join(group.value for group in CLASS_GROUPS if group in groups),
        samples=format_count(row.num_samples),
        errors=format_count(sum(row.counts[error_type] for error_type in TOP1_ERROR_TYPES)),
        multi_label=format_percentage(row.multi_label_accuracy),
        failures=format_count(row.counts[ErrorType.MODEL_FAILURE]),
        segments=bar_segments(row.counts),
        description=counts_description(
            [(ERROR_TYPE_TITLES[error_type], row.counts[error_type]) for error_type in TOP1_ERROR_TYPES]
        ),
        counts=tuple(
            MISSING if error_type in abstained else format_count(row.counts[error_type])
            for error_type in TOP1_ERROR_TYPES
        ),
        gain_failures=format_points(row.gain_if_fixed_multi_label[ErrorType.MODEL_FAILURE]),
        gain_all=format_points(sum(row.gain_if_fixed_multi_label.values())),
    )


def _confusion_row(confusion: Confusion, examples: Sequence[str]) -> ConfusionRow:
    names = class_names()
    return ConfusionRow(
        names[confusion.target],
        names[confusion.predicted],
        format_count(confusion.count),
        counts_description([(ERROR_TYPE_TITLES[error_type], count) for error_type, count in confusion.types.items()]),
        ", ".join(examples),
    )


def _calibration_view(
    calibration: Calibration, confidence: Mapping[ErrorType, tuple[int, float, float, float]]
) -> CalibrationView:
    summary = calibration_summary(calibration.top1_error, calibration.multi_label_error)
    return CalibrationView(
        summary=summary,
        chart=make_chart(charts.reliability(calibration, CALIBRATION_TITLES), summary),
        bins=tuple(
            BinRow(
                f"{format_percentage(bin_.low)} to {format_percentage(bin_.high)}",
                format_count(bin_.num_samples),
                format_percentage(bin_.confidence),
                format_percentage(bin_.top1_accuracy),
                format_percentage(bin_.multi_label_accuracy),
            )
            for bin_ in calibration.bins
        ),
        by_type=tuple(
            ConfidenceRow(
                ERROR_TYPE_TITLES[error_type],
                css_class(error_type),
                format_count(count),
                (format_percentage(first), format_percentage(median), format_percentage(third)),
            )
            for error_type, (count, first, median, third) in confidence.items()
        ),
    )


def _provenance(analysis: Analysis, summary: Summary, version: str) -> tuple[Property, ...]:
    info = analysis.model_info
    imagenet_m = summary.imagenet_m_errors
    values = [
        ("analysis", analysis.id),
        ("date", f"{analysis.create_time:%Y-%m-%d %H:%M} UTC"),
        ("data set", analysis.request.dataset),
        ("model", analysis.request.model or "uploaded predictions"),
        ("architecture", info.architecture if info else ""),
        ("SHA-256 of the weights", info.weights_sha256 if info else ""),
        ("transform", info.transform if info else ""),
        ("evidence digest", analysis.evidence),
        ("predictions digest", analysis.predictions_digest),
        ("images with a prediction", format_count(summary.num_predicted)),
        ("images in the data set", format_count(summary.num_images)),
        ("problematic images, excluded", format_count(summary.num_problematic)),
        ("top-1 accuracy on all images", format_percentage(summary.top1_accuracy_all_images)),
        (
            "top-1 accuracy restricted to the classes of the data set",
            format_percentage(summary.top1_accuracy_among_classes),
        ),
        ("ImageNet-M errors", "" if imagenet_m is None else format_count(imagenet_m)),
    ]
    properties = [Property(name, value) for name, value in values if value and value != MISSING]
    labels = [Property(f"label {key}", value) for key, value in sorted(analysis.request.labels.items())]
    return (*properties, *labels, Property("Errata version", version))

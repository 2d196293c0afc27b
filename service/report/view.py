"""What the report shows, as records that a template can walk: numbers are turned into words here and in words.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from errata.messages import (
    ERROR_TYPE_TITLES,
    GROUP_NAMES,
    LABEL_SOURCE_NAMES,
    METRIC_NAMES,
    PROBLEMATIC_TAG_NAMES,
    SEVERITY_NAMES,
    abstention_note,
    cooccurrence_note,
    format_count,
    format_percentage,
    format_points,
    rule_outcome,
    superclass_note,
    vocabulary_note,
)
from markupsafe import Markup

from service.domain import (
    CLASS_GROUPS,
    ERROR_TYPES,
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
from service.report.error_table import ErrorTable
from service.report.messages import (
    GAIN_TITLES,
    MULTI_LABEL_READING,
    RELIABILITY_TITLES,
    SEVERITY_SENTENCES,
    calibration_told,
    funnel_told,
    gain,
    gains_told,
    headline,
    of_its_errors,
    place,
)
from service.taxonomy.classes import class_names

SHOWN_CLASSES = 25
_SWATCHES = {  # the type whose color stands for a severity: the most frequent one
    Severity.NONE: ErrorType.MULTI_LABEL,
    Severity.MINOR: ErrorType.FINE_GRAINED,
    Severity.EXPLAINABLE: ErrorType.SPURIOUS_CORRELATION,
    Severity.SEVERE: ErrorType.MODEL_FAILURE,
}


@dataclass(frozen=True)
class Figure:
    """One of the three numbers under the headline."""

    name: str
    value: str
    reading: str
    place: str  # among models of equal accuracy; empty: not known


@dataclass(frozen=True)
class Picture:
    """A picture, and what it says for who doesn't see it."""

    svg: Markup
    told: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """A count and a share."""

    count: str
    share: str


@dataclass(frozen=True)
class GroupRow:
    """One group's verdicts."""

    group: str
    samples: str
    top1: str
    multi_label: str
    forgiving_minor: str
    forgiving_explainable: str
    errors: str
    types: tuple[Cell, ...]  # in the rules' order


@dataclass(frozen=True)
class SeverityRow:
    """One severity's part of the errors."""

    css: str
    title: str
    sentence: str
    types: str
    count: str
    of_errors: str
    of_images: str


@dataclass(frozen=True)
class GainRow:
    """What accuracy would gain if a type never occurred, in points."""

    title: str
    css: str
    severity: str
    top1: str
    multi_label: str


@dataclass(frozen=True)
class Piece:
    """One segment of a small bar, in percent of its width."""

    css: str
    x: float
    width: float


@dataclass(frozen=True)
class PartRow:
    """One superclass' or class' verdicts."""

    name: str
    groups: str  # names of the groups, for the filter
    samples: str
    errors: str
    multi_label: str
    severe: str
    bar: tuple[Piece, ...]
    told: str
    counts: tuple[str, ...]  # types 2 to 8
    gain_severe: str
    gain_all: str


@dataclass(frozen=True)
class ConfusionRow:
    """A target, what is predicted instead, how often, and some images."""

    target: str
    predicted: str
    count: str
    types: str
    examples: str


@dataclass(frozen=True)
class ErrorRow:
    """One error with its evidence."""

    file_name: str
    target: str
    predicted: str
    error_type: str
    css: str  # class of the type's color
    probability: str
    tags: tuple[str, ...]
    labels: tuple[str, ...]
    reasons: tuple[str, ...]
    trace: tuple[str, ...]


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
    """How sure the model was of the verdicts of one type."""

    title: str
    css: str
    samples: str
    quartiles: tuple[str, str, str]


@dataclass(frozen=True)
class CalibrationView:
    """How sure the model was, and how often right."""

    told: str
    picture: Picture
    bins: tuple[BinRow, ...]
    by_type: tuple[ConfidenceRow, ...]


@dataclass(frozen=True)
class StandingRow:
    """Where the model stands among published ones of its accuracy."""

    metric: str
    value: str
    place: str


@dataclass(frozen=True)
class Fact:
    """A line of the provenance."""

    name: str
    value: str


@dataclass(frozen=True)
class SourceRow:
    """Where a part of the evidence came from."""

    name: str
    origin: str
    license: str


@dataclass(frozen=True)
class ReportView:
    """All that a report shows."""

    title: str
    headline: str
    figures: tuple[Figure, ...]
    warnings: tuple[str, ...]
    abstained: tuple[str, ...]
    funnel: Picture
    type_titles: tuple[str, ...]
    groups: tuple[GroupRow, ...]
    severities: tuple[SeverityRow, ...]
    gains_picture: Picture
    gains: tuple[GainRow, ...]
    superclasses: tuple[PartRow, ...]
    classes: tuple[PartRow, ...]
    num_classes: int  # with errors, shown or not
    confusions: tuple[ConfusionRow, ...]
    calibration: CalibrationView | None
    standings: tuple[StandingRow, ...]
    notes: tuple[str, ...]  # to the standings
    errors: tuple[ErrorRow, ...]
    table: ErrorTable
    provenance: tuple[Fact, ...]
    sources: tuple[SourceRow, ...]


@dataclass(frozen=True)
class Found:
    """What a report is made of."""

    analysis: Analysis
    confusions: Sequence[tuple[Confusion, Sequence[str]]]  # with the names of some images
    superclasses: Sequence[tuple[BreakdownRow, Sequence[Group]]]  # with the groups of their classes
    classes: Sequence[tuple[BreakdownRow, Sequence[Group]]]
    calibration: Calibration | None
    confidence: Mapping[ErrorType, tuple[int, float, float, float]]  # samples and quartiles
    standings: Sequence[PercentileRank]
    notes: Sequence[str]
    errors: Sequence[Verdict]  # the worst, with evidence
    table: ErrorTable
    sources: Sequence[SourceRow]
    version: str


def report_view(found: Found) -> ReportView:
    """Return what a report shows."""
    analysis, summary = found.analysis, found.analysis.summary
    assert summary is not None, "this is a bug: a report is made of a finished analysis"
    everything = summary.groups[Group.ALL]
    places = {standing.metric: place(standing) for standing in found.standings if standing.percentile is not None}
    gains = _gains(everything, summary.abstained)
    return ReportView(
        title=analysis.title,
        headline=headline_of(analysis.title, summary),
        figures=_figures(everything, places),
        warnings=analysis.warnings,
        abstained=tuple(abstention_note(item, _after(item, summary)) for item in summary.abstained),
        funnel=_funnel(summary),
        type_titles=tuple(ERROR_TYPE_TITLES[error_type] for error_type in TOP1_ERROR_TYPES),
        groups=tuple(_group(group, each, summary.abstained) for group, each in summary.groups.items()),
        severities=_severities(everything),
        gains_picture=Picture(
            Markup(charts.gains(gains, GAIN_TITLES)),  # noqa: S704 - drawn by us
            (gains_told([(title, top1, multi) for _, title, top1, multi in gains]),),
        ),
        gains=tuple(
            GainRow(title, css_of(kind), SEVERITY_NAMES[SEVERITY[kind]], gain(top1), gain(multi))
            for kind, title, top1, multi in gains
        ),
        superclasses=_parts(found.superclasses, summary.abstained),
        classes=_parts(found.classes, summary.abstained)[:SHOWN_CLASSES],
        num_classes=len(_with_errors(found.classes)),
        confusions=tuple(_confusion(each, examples) for each, examples in found.confusions),
        calibration=_calibration(found) if found.calibration is not None else None,
        standings=tuple(
            StandingRow(METRIC_NAMES[standing.metric], format_percentage(standing.value), place(standing))
            for standing in found.standings
        ),
        notes=tuple(found.notes),
        errors=tuple(error_row(error) for error in found.errors),
        table=found.table,
        provenance=_provenance(analysis, found.version),
        sources=tuple(found.sources),
    )


def css_of(error_type: ErrorType) -> str:
    """Return the CSS class of an error type's color."""
    return f"type-{int(error_type)}"


def headline_of(title: str, summary: Summary) -> str:
    """Return the sentence that sums an analysis up."""
    everything = summary.groups[Group.ALL]
    by_severity = dict.fromkeys(Severity, 0)
    for error_type in TOP1_ERROR_TYPES:
        by_severity[SEVERITY[error_type]] += everything.counts[error_type]
    errors = everything.top1_errors
    return headline(
        title,
        errors,
        everything.num_samples,
        noise=by_severity[Severity.NONE] / errors if errors else 0.0,
        minor=by_severity[Severity.MINOR] / errors if errors else 0.0,
        excused=by_severity[Severity.EXPLAINABLE] / errors if errors else 0.0,
        severe=by_severity[Severity.SEVERE],
        bounded=bool(summary.abstained),
    )


def reasons_of(verdict: Verdict) -> tuple[str, ...]:
    """Return the evidence of a verdict in sentences, that of its own rule first."""
    names, evidence = class_names(), verdict.evidence
    if evidence is None:
        return ()
    predicted = names[verdict.predicted]
    shared = [
        superclass_note(predicted, names[shared_superclass.label], shared_superclass.superclasses)
        for shared_superclass in evidence.shared_superclasses
        if shared_superclass.label != verdict.predicted
    ]
    together = [
        cooccurrence_note(predicted, names[co_occurrence.label], co_occurrence.count, co_occurrence.examples)
        for co_occurrence in evidence.co_occurrences
    ]
    clip = []
    if evidence.vocabulary is not None:
        best = [(item.text, item.probability) for item in evidence.vocabulary.best]
        clip = [vocabulary_note(predicted, evidence.vocabulary.gate, evidence.vocabulary.num_texts, best)]
    overlap = [evidence.overlap] if evidence.overlap else []
    return (*overlap, *shared, *clip, *together)


def error_row(verdict: Verdict) -> ErrorRow:
    """Return one verdict as it is shown."""
    names = class_names()
    evidence = verdict.evidence
    return ErrorRow(
        file_name=verdict.file_name,
        target=names[verdict.target],
        predicted=names[verdict.predicted],
        error_type=ERROR_TYPE_TITLES[verdict.error_type],
        css=css_of(verdict.error_type),
        probability=format_percentage(verdict.probability),
        tags=tuple(PROBLEMATIC_TAG_NAMES[tag] for tag in verdict.problematic),
        labels=tuple(f"{names[label]} ({LABEL_SOURCE_NAMES[source]})" for label, source in evidence.labels)
        if evidence
        else (),
        reasons=reasons_of(verdict),
        trace=tuple(rule_outcome(step.error_type, step.note, step.outcome) for step in evidence.trace)
        if evidence
        else (),
    )


def pieces_of(counts: Mapping[ErrorType, int]) -> tuple[Piece, ...]:
    """Return the top-1 errors of one part as a small bar over its whole width."""
    total = sum(counts[error_type] for error_type in TOP1_ERROR_TYPES)
    start, result = 0.0, []
    for error_type in TOP1_ERROR_TYPES:
        width = 100 * counts[error_type] / total if total else 0.0
        if width:
            result.append(Piece(css_of(error_type), round(start, 2), round(width, 2)))
        start += width
    return tuple(result)


def _figures(everything: GroupSummary, places: Mapping[Metric, str]) -> tuple[Figure, ...]:
    severe = everything.counts[ErrorType.MODEL_FAILURE]
    rate = severe / everything.num_samples if everything.num_samples else None
    return (
        Figure("top-1 accuracy", format_percentage(everything.top1_accuracy), "the original label is predicted", ""),
        Figure(
            "multi-label accuracy",
            format_percentage(everything.multi_label_accuracy),
            MULTI_LABEL_READING,
            places.get(Metric.MULTI_LABEL_ACCURACY, ""),
        ),
        Figure(
            "severe error rate",
            format_percentage(rate),
            "images with a model failure",
            of_its_errors(places.get(Metric.MODEL_FAILURE, "")),
        ),
    )


def _funnel(summary: Summary) -> Picture:
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
    told = tuple(
        funnel_told(
            GROUP_NAMES[group],
            result.top1_errors,
            [
                (ERROR_TYPE_TITLES[error_type], result.portions_of_top1_errors.get(error_type, 0.0))
                for error_type in TOP1_ERROR_TYPES
            ],
        )
        for group, result in summary.groups.items()
    )
    return Picture(Markup(charts.funnel(groups)), told)  # noqa: S704 - drawn by us


def _group(group: Group, found: GroupSummary, abstained: Sequence[ErrorType]) -> GroupRow:
    return GroupRow(
        group=GROUP_NAMES[group],
        samples=format_count(found.num_samples),
        top1=format_percentage(found.top1_accuracy),
        multi_label=format_percentage(found.multi_label_accuracy),
        forgiving_minor=format_percentage(found.multi_label_accuracy_forgiving_minor),
        forgiving_explainable=format_percentage(found.multi_label_accuracy_forgiving_explainable),
        errors=format_count(found.top1_errors),
        types=tuple(
            Cell("–", "")
            if error_type in abstained
            else Cell(
                format_count(found.counts[error_type]), format_percentage(found.portions_of_top1_errors.get(error_type))
            )
            for error_type in TOP1_ERROR_TYPES
        ),
    )


def _severities(everything: GroupSummary) -> tuple[SeverityRow, ...]:
    rows = []
    for severity in tuple(Severity)[1:]:
        types = [error_type for error_type in TOP1_ERROR_TYPES if SEVERITY[error_type] is severity]
        count = sum(everything.counts[type_] for type_ in types)
        errors, samples = everything.top1_errors, everything.num_samples
        rows.append(
            SeverityRow(
                css=css_of(_SWATCHES[severity]),
                title=SEVERITY_NAMES[severity],
                sentence=SEVERITY_SENTENCES[severity],
                types=", ".join(ERROR_TYPE_TITLES[type_] for type_ in types),
                count=format_count(count),
                of_errors=format_percentage(count / errors if errors else None),
                of_images=format_percentage(count / samples if samples else None),
            )
        )
    return tuple(rows)


def _gains(
    everything: GroupSummary, abstained: Sequence[ErrorType]
) -> list[tuple[ErrorType, str, float | None, float | None]]:
    top1, multi = everything.gain_if_fixed_top1, everything.gain_if_fixed_multi_label
    return [
        (error_type, ERROR_TYPE_TITLES[error_type], None, None)
        if error_type in abstained
        else (
            error_type,
            ERROR_TYPE_TITLES[error_type],
            top1.get(error_type, 0.0),
            multi.get(error_type, 0.0),
        )
        for error_type in TOP1_ERROR_TYPES
    ]


def _with_errors(
    rows: Sequence[tuple[BreakdownRow, Sequence[Group]]],
) -> list[tuple[BreakdownRow, Sequence[Group]]]:
    return [(row, groups) for row, groups in rows if any(row.counts[error_type] for error_type in TOP1_ERROR_TYPES)]


def _parts(rows: Sequence[tuple[BreakdownRow, Sequence[Group]]], abstained: Sequence[ErrorType]) -> tuple[PartRow, ...]:
    """Return the superclasses or classes with errors, those with the most severe ones first."""
    ordered = sorted(
        _with_errors(rows),
        key=lambda item: (
            -item[0].counts[ErrorType.MODEL_FAILURE],
            item[0].counts[ErrorType.CORRECT] - item[0].num_samples,
            item[0].name,
        ),
    )
    return tuple(_part(row, groups, abstained) for row, groups in ordered)


def _part(row: BreakdownRow, groups: Sequence[Group], abstained: Sequence[ErrorType]) -> PartRow:
    told = ", ".join(
        f"{format_count(row.counts[error_type])} {ERROR_TYPE_TITLES[error_type]}"
        for error_type in TOP1_ERROR_TYPES
        if row.counts[error_type]
    )
    return PartRow(
        name=row.name,
        groups=" ".join(group.value for group in CLASS_GROUPS if group in groups),
        samples=format_count(row.num_samples),
        errors=format_count(sum(row.counts[error_type] for error_type in TOP1_ERROR_TYPES)),
        multi_label=format_percentage(row.multi_label_accuracy),
        severe=format_count(row.counts[ErrorType.MODEL_FAILURE]),
        bar=pieces_of(row.counts),
        told=told,
        counts=tuple(
            "–" if error_type in abstained else format_count(row.counts[error_type]) for error_type in TOP1_ERROR_TYPES
        ),
        gain_severe=format_points(row.gain_if_fixed_multi_label[ErrorType.MODEL_FAILURE]),
        gain_all=format_points(sum(row.gain_if_fixed_multi_label.values())),
    )


def _confusion(each: Confusion, examples: Sequence[str]) -> ConfusionRow:
    names = class_names()
    return ConfusionRow(
        names[each.target],
        names[each.predicted],
        format_count(each.count),
        ", ".join(f"{format_count(count)} {ERROR_TYPE_TITLES[kind]}" for kind, count in each.types.items()),
        ", ".join(examples),
    )


def _calibration(found: Found) -> CalibrationView:
    calibration = found.calibration
    assert calibration is not None, "this is a bug: asked for only where probabilities came"
    told = calibration_told(calibration.top1_error, calibration.multi_label_error)
    return CalibrationView(
        told=told,
        picture=Picture(Markup(charts.reliability(calibration, RELIABILITY_TITLES)), (told,)),  # noqa: S704 - ours
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
                ERROR_TYPE_TITLES[each],
                css_of(each),
                format_count(count),
                (format_percentage(first), format_percentage(middle), format_percentage(third)),
            )
            for each, (count, first, middle, third) in found.confidence.items()
        ),
    )


def _after(error_type: ErrorType, summary: Summary) -> list[ErrorType]:
    return [
        error_type_ for error_type_ in ERROR_TYPES if error_type_ > error_type and error_type_ not in summary.abstained
    ]


def _provenance(analysis: Analysis, version: str) -> tuple[Fact, ...]:
    summary, info = analysis.summary, analysis.model_info
    facts = [
        ("analysis", analysis.id),
        ("date", f"{analysis.create_time:%Y-%m-%d %H:%M} UTC"),
        ("data set", analysis.request.dataset),
        ("model", analysis.request.model or "uploaded predictions"),
        ("architecture", info.architecture if info else ""),
        ("weights, SHA-256", info.weights_sha256 if info else ""),
        ("transform", info.transform if info else ""),
        ("evidence, digest", analysis.evidence),
        ("predictions, digest", analysis.predictions_digest),
        ("images with a prediction", format_count(summary.num_predicted) if summary else ""),
        ("images of the data set", format_count(summary.num_images) if summary else ""),
        ("set aside by the annotators", format_count(summary.num_problematic) if summary else ""),
        ("top-1 accuracy over all images", format_percentage(summary.top1_accuracy_all_images) if summary else ""),
        (
            "top-1 accuracy among its own classes",
            format_percentage(summary.top1_accuracy_among_classes) if summary else "",
        ),
        ("ImageNet-M errors", _or_none(summary.imagenet_m_errors) if summary else ""),
    ]
    own = [Fact(f"label {key}", value) for key, value in sorted(analysis.request.labels.items())]
    known = [Fact(name, value) for name, value in facts if value and value != "–"]
    return (*known, *own, Fact("Errata", version))


def _or_none(count: int | None) -> str:
    return "" if count is None else format_count(count)

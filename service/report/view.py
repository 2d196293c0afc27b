"""What the report shows, as records that a template can walk: numbers are turned into words here and nowhere else."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.domain import (
    ERROR_TYPES,
    SEVERITY,
    TOP1_ERROR_TYPES,
    Analysis,
    Confusion,
    ErrorType,
    Group,
    GroupSummary,
    Severity,
    Summary,
    Verdict,
)
from service.report.words import (
    ERROR_TYPE_WORDS,
    GROUP_WORDS,
    SEVERITY_WORDS,
    SOURCE_WORDS,
    TAG_WORDS,
    abstention,
    compared_texts,
    headline,
    number,
    rule_said,
    seen_together,
    share,
    shared_superclasses,
)
from service.taxonomy.classes import class_names


@dataclass(frozen=True)
class Figure:
    """One of the three numbers under the headline."""

    name: str
    value: str
    reading: str


@dataclass(frozen=True)
class Segment:
    """One error type's part of a bar."""

    error_type: ErrorType
    title: str
    severity: str
    count: int
    count_text: str
    share: float  # of the group's top-1 errors
    share_text: str


@dataclass(frozen=True)
class Bar:
    """The errors of one group, split by type."""

    group: str
    samples: str
    errors: int
    errors_text: str
    top1: str
    multi_label: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class ConfusionRow:
    """A target, what is predicted instead, and how often."""

    target: str
    predicted: str
    count: str
    types: str


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
    bars: tuple[Bar, ...]
    abstained: tuple[str, ...]
    warnings: tuple[str, ...]
    confusions: tuple[ConfusionRow, ...]
    errors: tuple[ErrorRow, ...]
    errors_total: int
    provenance: tuple[Fact, ...]
    sources: tuple[SourceRow, ...]


def report_view(
    analysis: Analysis,
    confusions: Sequence[Confusion],
    errors: Sequence[Verdict],
    errors_total: int,
    sources: Sequence[SourceRow],
    version: str,
) -> ReportView:
    """Return what a report shows: `errors` are some of the `errors_total` multi-label errors, with evidence."""
    summary = analysis.summary
    assert summary is not None, "this is a bug: a report is made of a finished analysis"
    names = class_names()
    return ReportView(
        title=analysis.title,
        headline=headline_of(analysis.title, summary),
        figures=_figures(summary.groups[Group.ALL]),
        bars=tuple(_bar(group, each) for group, each in summary.groups.items()),
        abstained=tuple(abstention(each, _after(each, summary)) for each in summary.abstained),
        warnings=analysis.warnings,
        confusions=tuple(
            ConfusionRow(
                names[each.target],
                names[each.predicted],
                number(each.count),
                ", ".join(f"{number(count)} {ERROR_TYPE_WORDS[kind].title}" for kind, count in each.types.items()),
            )
            for each in confusions
        ),
        errors=tuple(_error(each) for each in errors),
        errors_total=errors_total,
        provenance=_provenance(analysis, version),
        sources=tuple(sources),
    )


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
        shared_superclasses(predicted, names[each.label], each.superclasses)
        for each in evidence.shared_superclasses
        if each.label != verdict.predicted
    ]
    together = [
        seen_together(predicted, names[each.label], each.count, each.examples) for each in evidence.co_occurrences
    ]
    clip = []
    if evidence.vocabulary is not None:
        best = [(each.text, each.probability) for each in evidence.vocabulary.best]
        clip = [compared_texts(predicted, evidence.vocabulary.gate, evidence.vocabulary.num_texts, best)]
    overlap = [evidence.overlap] if evidence.overlap else []
    return (*overlap, *shared, *clip, *together)


def _figures(everything: GroupSummary) -> tuple[Figure, ...]:
    severe = everything.counts[ErrorType.MODEL_FAILURE]
    rate = severe / everything.num_samples if everything.num_samples else None
    return (
        Figure("top-1 accuracy", share(everything.top1_accuracy), "the original label is predicted"),
        Figure(
            "multi-label accuracy",
            share(everything.multi_label_accuracy),
            "mean over classes; whatever is in the image counts as right",
        ),
        Figure("severe error rate", share(rate), "images with a model failure"),
    )


def _bar(group: Group, summary: GroupSummary) -> Bar:
    return Bar(
        group=GROUP_WORDS[group],
        samples=number(summary.num_samples),
        errors=summary.top1_errors,
        errors_text=number(summary.top1_errors),
        top1=share(summary.top1_accuracy),
        multi_label=share(summary.multi_label_accuracy),
        segments=tuple(
            Segment(
                error_type=each,
                title=ERROR_TYPE_WORDS[each].title,
                severity=SEVERITY_WORDS[SEVERITY[each]],
                count=summary.counts[each],
                count_text=number(summary.counts[each]),
                share=summary.portions_of_top1_errors.get(each, 0.0),
                share_text=share(summary.portions_of_top1_errors.get(each)),
            )
            for each in TOP1_ERROR_TYPES
        ),
    )


def _after(error_type: ErrorType, summary: Summary) -> list[ErrorType]:
    return [each for each in ERROR_TYPES if each > error_type and each not in summary.abstained]


def _error(verdict: Verdict) -> ErrorRow:
    names = class_names()
    evidence = verdict.evidence
    return ErrorRow(
        file_name=verdict.file_name,
        target=names[verdict.target],
        predicted=names[verdict.predicted],
        error_type=ERROR_TYPE_WORDS[verdict.error_type].title,
        css=f"type-{int(verdict.error_type)}",
        probability=share(verdict.probability),
        tags=tuple(TAG_WORDS[tag] for tag in verdict.problematic),
        labels=tuple(f"{names[label]} ({SOURCE_WORDS[source]})" for label, source in evidence.labels)
        if evidence
        else (),
        reasons=reasons_of(verdict),
        trace=tuple(rule_said(step.error_type, step.note, step.outcome) for step in evidence.trace) if evidence else (),
    )


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
        ("images with a prediction", number(summary.num_predicted) if summary else ""),
        ("images of the data set", number(summary.num_images) if summary else ""),
        ("set aside by the annotators", number(summary.num_problematic) if summary else ""),
        ("top-1 accuracy over all images", share(summary.top1_accuracy_all_images) if summary else ""),
        *((f"label {key}", value) for key, value in sorted(analysis.request.labels.items())),
        ("Errata", version),
    ]
    return tuple(Fact(name, value) for name, value in facts if value)

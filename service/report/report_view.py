"""The content of a report as records for the template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from errata.messages import (
    CLASS_ACCURACY,
    MISSING,
    abstention_notes,
    error_noun,
    format_count,
    format_percentage,
    labels_accuracy_name,
    rejected_targets_note,
)
from numpy.typing import NDArray

from service.domain import (
    ALL,
    MULTI_LABEL_ACCURACY,
    SEVERE_TYPES,
    TOP1_ERROR_TYPES,
    Agreement,
    Analysis,
    Calibration,
    Confusion,
    ErrorType,
    Metric,
    PercentileRank,
    Severity,
    SliceTable,
    Summary,
    Verdict,
    coverage_of,
)
from service.report.agreement_view import AgreementView, agreement_view
from service.report.answers_view import AnswersView, answers_view
from service.report.breakdown_view import (
    GainRow,
    GroupRow,
    SeverityRow,
    breakdown_chart,
    gain_rows,
    gains_chart,
    group_row,
    severity_rows,
)
from service.report.calibration_view import CalibrationView, calibration_view
from service.report.class_view import ClassBreakdown, ClassRow, class_rows, sort_by_failures
from service.report.confusion_view import ConfusionMap, ConfusionRow, confusion_map_view, confusion_row
from service.report.elements import Chart, Property
from service.report.error_table import ErrorTable
from service.report.error_view import ErrorRow, error_row
from service.report.image_links import ImageLinks
from service.report.messages.coverage import COVERAGE_NOTE, describe_coverage, partial_coverage
from service.report.messages.error_types import (
    LABELS_ACCURACY_NOTE,
    SEVERE_ERROR_RATE_NOTE,
    TOP1_ACCURACY_NOTE,
    label_preference_note,
    multi_label_accuracy_note,
    percentile_note,
    summary_sentence,
)
from service.report.messages.formatting import capitalize
from service.report.messages.pages import identity_text
from service.report.messages.trend import percentile_message
from service.report.percentile_view import PercentileRow, percentile_rows
from service.report.slices_view import SliceRowView, slice_rows
from service.report.urls import versions_url

MAX_CLASSES = 25
MAX_SUPERCLASSES = 500


@dataclass(frozen=True)
class KeyFigure:
    """One of the numbers below the summary."""

    name: str
    value: str
    note: str
    percentile: str  # among models of similar accuracy; empty: not known


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
    identity: str  # the name and the owner
    summary: str
    key_figures: tuple[KeyFigure, ...]
    warnings: tuple[str, ...]
    assumptions: str  # what was assumed to read the uploaded file; empty: nothing
    is_implausible: bool  # whether an input check failed
    abstained: tuple[str, ...]
    labels_accuracy: str  # name of the accuracy against the labels
    breakdown_chart: Chart
    type_titles: tuple[str, ...]
    groups: tuple[GroupRow, ...]
    severities: tuple[SeverityRow, ...]
    gains_chart: Chart
    gains: tuple[GainRow, ...]
    superclasses: tuple[ClassRow, ...]
    num_superclasses: int  # with errors, including those that are not listed
    classes: tuple[ClassRow, ...]
    num_classes: int  # classes with errors, including those that are not listed
    confusions: tuple[ConfusionRow, ...]
    confusion_map: ConfusionMap | None
    calibration: CalibrationView | None
    percentiles: tuple[PercentileRow, ...]
    notes: tuple[str, ...]  # about the percentiles
    errors: tuple[ErrorRow, ...]
    table: ErrorTable
    provenance: tuple[Property, ...]
    sources: tuple[SourceRow, ...]
    answers: AnswersView | None = None  # None: the predictions are no free-text answers
    rejected_targets: str = ""  # effect of rejected targets; empty: there are none
    label_preference: str = ""  # out-of-vocabulary errors for which CLIP prefers a true label; empty: unknown, or none
    agreement: AgreementView | None = None  # with experts; None: they judged no image of the data set
    slices: tuple[SliceRowView, ...] = ()
    num_slices: int = 0  # including those that are not listed
    dataset: str = ""
    has_map: bool = False  # whether the evidence has embeddings of the images


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
    label_preference: tuple[int, int] | None = None  # OOV errors for which CLIP prefers a label, and all of them
    agreement: Agreement | None = None
    slices: SliceTable | None = None  # None: the data set has no attributes
    confused: tuple[Sequence[int], NDArray[np.int64]] = ((), np.zeros((0, 0), np.int64))  # classes, counts by target
    links: ImageLinks = field(default_factory=ImageLinks)
    has_map: bool = False


def report_view(data: ReportData) -> ReportView:
    """Convert results for display."""
    analysis, summary = data.analysis, data.analysis.summary
    assert summary is not None, "This is a bug: a report needs a finished analysis"
    percentiles = {rank.metric: percentile_message(rank) for rank in data.percentiles if rank.low is not None}
    classes, superclasses = sort_by_failures(data.classes), sort_by_failures(data.superclasses)
    names, links = data.table.class_names, data.links
    rejected, preference = summary.num_rejected_targets or 0, data.label_preference
    return ReportView(
        title=analysis.title,
        identity=identity_text(analysis.id, analysis.owner),
        summary=analysis_summary(analysis.title, summary),
        key_figures=(
            *_key_figures(analysis.request.dataset, summary, percentiles),
            *_coverage_figure(analysis),
        ),
        warnings=analysis.warnings,
        assumptions=" ".join(analysis.assumptions),
        is_implausible=analysis.implausible,
        answers=answers_view(analysis.answers) if analysis.answers else None,
        abstained=tuple(abstention_notes([error_type.key for error_type in summary.abstained])),
        rejected_targets=rejected_targets_note(rejected) if rejected else "",
        label_preference=label_preference_note(*preference) if preference and preference[1] else "",
        labels_accuracy=labels_accuracy_name(analysis.request.dataset, rejected),
        breakdown_chart=breakdown_chart(summary, links),
        type_titles=tuple(error_type.title for error_type in TOP1_ERROR_TYPES),
        groups=tuple(group_row(group, summary.groups[group], summary.abstained, links) for group in summary.groups),
        severities=severity_rows(summary, links),
        gains_chart=gains_chart(summary, links),
        gains=gain_rows(summary, links),
        superclasses=class_rows(superclasses[:MAX_SUPERCLASSES], summary.abstained, links),
        num_superclasses=len(superclasses),
        classes=class_rows(classes[:MAX_CLASSES], summary.abstained, links),
        num_classes=len(classes),
        slices=slice_rows(data.slices),
        num_slices=len(data.slices.rows) if data.slices is not None else 0,
        confusions=tuple(confusion_row(pair, examples, names, links) for pair, examples in data.confusions),
        confusion_map=confusion_map_view(*data.confused, names, links),
        calibration=calibration_view(data.calibration, data.confidence, links) if data.calibration else None,
        percentiles=percentile_rows(data.percentiles, bool(rejected)),
        notes=tuple(data.notes),
        errors=tuple(error_row(verdict, names) for verdict in data.errors),
        table=data.table,
        agreement=agreement_view(data.agreement) if data.agreement is not None else None,
        provenance=_provenance(analysis, summary, data),
        sources=tuple(data.sources),
        dataset=analysis.request.dataset,
        has_map=data.has_map,
    )


def analysis_summary(title: str, summary: Summary) -> str:
    """Summarize an analysis in one sentence."""
    overall = summary.groups[ALL]
    counts = dict.fromkeys(tuple(Severity)[1:], 0)
    for error_type in TOP1_ERROR_TYPES:
        counts[error_type.severity] += overall.counts[error_type]
    noun = error_noun(summary.num_rejected_targets)
    return summary_sentence(title, overall.num_samples, counts, bool(summary.abstained), noun)


def _key_figures(dataset: str, summary: Summary, percentiles: Mapping[Metric, str]) -> tuple[KeyFigure, ...]:
    overall = summary.groups[ALL]
    multi_label_percentile = percentiles.get(MULTI_LABEL_ACCURACY, "")
    figures = [KeyFigure("top-1 accuracy", format_percentage(overall.top1_accuracy), TOP1_ACCURACY_NOTE, "")]
    if summary.num_rejected_targets:
        name = labels_accuracy_name(dataset, summary.num_rejected_targets)
        figures.append(KeyFigure(name, format_percentage(overall.accuracy_against_labels), LABELS_ACCURACY_NOTE, ""))
    return (
        *figures,
        KeyFigure(
            CLASS_ACCURACY,
            format_percentage(overall.multi_label_accuracy),
            multi_label_accuracy_note(overall.image_multi_label_accuracy),
            f"{capitalize(multi_label_percentile)}." if multi_label_percentile else "",
        ),
        KeyFigure(
            "severe error rate",
            format_percentage(overall.severe_error_rate),
            SEVERE_ERROR_RATE_NOTE,
            percentile_note(percentiles.get(SEVERE_TYPES[0].key, "") if len(SEVERE_TYPES) == 1 else ""),
        ),
    )


def _coverage_figure(analysis: Analysis) -> tuple[KeyFigure, ...]:
    """Return the coverage of an analysis that does not cover all evaluated images."""
    share = partial_coverage(analysis)
    return (KeyFigure("coverage", share, COVERAGE_NOTE, ""),) if share else ()


def _provenance(analysis: Analysis, summary: Summary, data: ReportData) -> tuple[Property, ...]:
    info = analysis.model_info
    imagenet_m = summary.imagenet_m_errors
    coverage, subset = coverage_of(summary, analysis.subset), analysis.subset
    values = [
        ("analysis", analysis.id),
        ("owner", analysis.owner),
        ("date", f"{analysis.create_time:%Y-%m-%d %H:%M} UTC"),
        ("data set", analysis.request.dataset),
        ("model", analysis.request.model or "uploaded predictions"),
        ("implausible predictions", "accepted" if analysis.implausible else ""),
        ("architecture", info.architecture if info else ""),
        ("SHA-256 of the weights", info.weights_sha256 if info else ""),
        ("transform", info.transform if info else ""),
        ("evidence digest", analysis.evidence),
        ("predictions digest", analysis.predictions_digest),
        ("digest of the answers' mapping file", analysis.answers.mapping_digest if analysis.answers else ""),
        ("attributes digest", data.slices.digest if data.slices is not None else ""),
        ("coverage", describe_coverage(coverage) if coverage else ""),
        ("digest of the subset", subset.digest if subset else ""),
        ("images with a prediction", format_count(summary.num_predicted)),
        ("images in the data set", format_count(summary.num_images)),
        ("problematic images, excluded", format_count(summary.num_problematic)),
        ("images whose labels reject the original label", format_count(summary.num_rejected_targets or 0)),
        ("top-1 accuracy on all images", format_percentage(summary.top1_accuracy_all_images)),
        (
            "top-1 accuracy restricted to the classes of the data set",
            format_percentage(summary.top1_accuracy_among_classes),
        ),
        ("ImageNet-M errors", "" if imagenet_m is None else format_count(imagenet_m)),
    ]
    urls = {"evidence digest": versions_url(analysis.request.dataset)}
    properties = [Property(name, value, urls.get(name, "")) for name, value in values if value and value != MISSING]
    labels = [Property(f"label {key}", value) for key, value in sorted(analysis.request.labels.items())]
    return (*properties, *labels, Property("Errata version", data.version))

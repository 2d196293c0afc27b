"""The results of each group, and the errors by type and severity, as records for the template."""

from collections.abc import Sequence
from dataclasses import dataclass

from errata.groups import group_title, group_titles
from errata.messages import (
    MISSING,
    SEVERITY_NAMES,
    error_noun,
    format_count,
    format_percentage,
)

from service.domain import (
    ALL,
    TOP1_ERROR_TYPES,
    ErrorType,
    GroupSummary,
    Severity,
    Summary,
)
from service.report import charts
from service.report.elements import Chart, LinkedText, css_class, make_chart
from service.report.image_links import ImageLinks
from service.report.messages.error_types import (
    GAIN_TITLES,
    SEVERITY_DESCRIPTIONS,
    breakdown_description,
    gains_description,
)
from service.report.messages.formatting import format_gain

_SEVERITY_COLORS = {  # each severity has the color of its most frequent error type
    Severity.NONE: ErrorType.MULTI_LABEL,
    Severity.MINOR: ErrorType.FINE_GRAINED,
    Severity.EXPLAINABLE: ErrorType.SPURIOUS_CORRELATION,
    Severity.SEVERE: ErrorType.MODEL_FAILURE,
}


@dataclass(frozen=True)
class CountCell:
    """A count and its percentage of the errors."""

    count: str
    percentage: str
    url: str = ""  # of the images; empty: there are none


@dataclass(frozen=True)
class GroupRow:
    """The results of one group."""

    group: str
    samples: str
    top1: str
    labels: str
    image_multi_label: str  # share of images
    multi_label: str  # mean over classes, as in the two fields `forgiving_*`
    forgiving_minor: str
    forgiving_explainable: str
    errors: str
    types: tuple[CountCell, ...]  # in the order of the rules
    url: str = ""  # of the images


@dataclass(frozen=True)
class SeverityRow:
    """The errors of one severity."""

    css_class: str
    title: str
    description: str
    types: tuple[LinkedText, ...]
    count: str
    of_errors: str
    of_images: str
    url: str = ""  # of the images; empty: there are none, or they have several types, which the grid cannot select


@dataclass(frozen=True)
class GainRow:
    """The accuracy gain without errors of one type, in percentage points."""

    title: str
    css_class: str
    severity: str
    top1: str
    multi_label: str
    url: str = ""  # of the images; empty: there are none


def breakdown_chart(summary: Summary, links: ImageLinks) -> Chart:
    """Return the chart of the error types in each group."""
    titles = group_titles(summary.groups)
    groups = [
        (
            titles[group],
            [
                (error_type, None if error_type in summary.abstained else result.counts[error_type])
                for error_type in TOP1_ERROR_TYPES
            ],
        )
        for group, result in summary.groups.items()
    ]
    descriptions = [
        breakdown_description(
            titles[group],
            result.num_errors,
            [
                (error_type.title, result.portions_of_top1_errors.get(error_type, 0.0))
                for error_type in TOP1_ERROR_TYPES
            ],
            error_noun(summary.num_rejected_targets),
        )
        for group, result in summary.groups.items()
    ]
    urls = {
        (titles[group], error_type): links.images(error_type=error_type, group=group)
        for group, result in summary.groups.items()
        for error_type in TOP1_ERROR_TYPES
        if result.counts[error_type] and error_type not in summary.abstained
    }
    return make_chart(charts.breakdown(groups, urls), *descriptions)


def group_row(group: str, result: GroupSummary, abstained: Sequence[ErrorType], links: ImageLinks) -> GroupRow:
    """Convert the results of a group for display."""
    portions = result.portions_of_top1_errors
    return GroupRow(
        group=group_title(group),
        samples=format_count(result.num_samples),
        top1=format_percentage(result.top1_accuracy),
        labels=format_percentage(result.accuracy_against_labels),
        image_multi_label=format_percentage(result.image_multi_label_accuracy),
        multi_label=format_percentage(result.multi_label_accuracy),
        forgiving_minor=format_percentage(result.multi_label_accuracy_forgiving_minor),
        forgiving_explainable=format_percentage(result.multi_label_accuracy_forgiving_explainable),
        errors=format_count(result.top1_errors),
        types=tuple(
            CountCell(MISSING, "")
            if error_type in abstained
            else CountCell(
                format_count(result.counts[error_type]),
                format_percentage(portions.get(error_type)),
                links.images(error_type=error_type, group=group) if result.counts[error_type] else "",
            )
            for error_type in TOP1_ERROR_TYPES
        ),
        url=links.images(group=group) if result.num_samples else "",
    )


def severity_rows(summary: Summary, links: ImageLinks) -> tuple[SeverityRow, ...]:
    """Return the errors of each severity, without counts for a severity whose rules all abstain."""
    overall = summary.groups[ALL]
    errors, samples = overall.num_errors, overall.num_samples
    urls, rows = _type_urls(summary, links), []
    for severity in tuple(Severity)[1:]:
        types = [error_type for error_type in TOP1_ERROR_TYPES if error_type.severity is severity]
        count = sum(overall.counts[error_type] for error_type in types)
        is_evaluated = any(error_type not in summary.abstained for error_type in types)
        rows.append(
            SeverityRow(
                css_class=css_class(_SEVERITY_COLORS[severity]),
                title=SEVERITY_NAMES[severity],
                description=SEVERITY_DESCRIPTIONS[severity],
                types=tuple(LinkedText(error_type.title, urls.get(error_type, "")) for error_type in types),
                count=format_count(count) if is_evaluated else MISSING,
                of_errors=format_percentage(count / errors if errors and is_evaluated else None),
                of_images=format_percentage(count / samples if samples and is_evaluated else None),
                url=urls.get(types[0], "") if len(types) == 1 else "",
            )
        )
    return tuple(rows)


def gains_chart(summary: Summary, links: ImageLinks) -> Chart:
    """Return the chart of the accuracy gains without errors of each type."""
    gains, urls = _gains(summary), _type_urls(summary, links)
    return make_chart(
        charts.gains(gains, GAIN_TITLES, urls),
        gains_description([(error_type.title, top1, multi_label) for error_type, top1, multi_label in gains]),
    )


def _type_urls(summary: Summary, links: ImageLinks) -> dict[ErrorType, str]:
    """Return the links to the images of each type that occurs."""
    counts = summary.groups[ALL].counts
    return {
        error_type: links.images(error_type=error_type)
        for error_type in TOP1_ERROR_TYPES
        if counts[error_type] and error_type not in summary.abstained
    }


def gain_rows(summary: Summary, links: ImageLinks) -> tuple[GainRow, ...]:
    """Return the accuracy gain without errors of each type."""
    urls = _type_urls(summary, links)
    return tuple(
        GainRow(
            error_type.title,
            css_class(error_type),
            SEVERITY_NAMES[error_type.severity],
            format_gain(top1),
            format_gain(multi_label),
            urls.get(error_type, ""),
        )
        for error_type, top1, multi_label in _gains(summary)
    )


def _gains(summary: Summary) -> list[tuple[ErrorType, float | None, float | None]]:
    """Return (type, top-1 gain, multi-label gain). None: the gain is undefined or the rule was not evaluated."""
    overall = summary.groups[ALL]
    top1, multi_label = overall.gain_if_fixed_top1, overall.gain_if_fixed_multi_label
    missing = 0.0 if multi_label else None  # without samples, and in the first documents, there are no gains
    missing_top1 = None if summary.num_rejected_targets else missing  # with rejected targets, top-1 gains are undefined
    return [
        (error_type, None, None)
        if error_type in summary.abstained
        else (error_type, top1.get(error_type, missing_top1), multi_label.get(error_type, missing))
        for error_type in TOP1_ERROR_TYPES
    ]

"""The results of superclasses and classes as records for the template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from errata.messages import (
    MISSING,
    format_count,
    format_percentage,
    format_points,
)

from service.domain import (
    SEVERE_TYPES,
    TOP1_ERROR_TYPES,
    BreakdownRow,
    ErrorType,
)
from service.report.elements import BarSegment, LinkedText, bar_segments
from service.report.image_links import ImageLinks
from service.report.messages.error_types import (
    counts_description,
)

# Each row with the numbers of the groups of its classes, and with the conditions that its images meet.
ClassBreakdown = Sequence[tuple[BreakdownRow, Sequence[int], Mapping[str, Any]]]


@dataclass(frozen=True)
class ClassRow:
    """The results of one superclass or class."""

    name: str
    groups: str  # numbers of the groups, for the filter
    samples: str
    errors: str
    multi_label: str
    failures: LinkedText
    segments: tuple[BarSegment, ...]
    description: str  # description of the segments
    counts: tuple[LinkedText, ...]  # of top-1 errors
    gain_failures: str
    gain_all: str
    url: str = ""  # of the images


def class_rows(rows: ClassBreakdown, abstained: Sequence[ErrorType], links: ImageLinks) -> tuple[ClassRow, ...]:
    """Convert superclasses or classes for display."""
    return tuple(_class_row(row, groups, conditions, abstained, links) for row, groups, conditions in rows)


def sort_by_failures(rows: ClassBreakdown) -> ClassBreakdown:
    """Return the superclasses or classes with errors, sorted by model failures."""
    return sorted(
        (item for item in rows if any(item[0].counts[error_type] for error_type in TOP1_ERROR_TYPES)),
        key=lambda item: (
            -item[0].severe_errors,
            item[0].counts[ErrorType.CORRECT] - item[0].num_samples,
            item[0].name,
        ),
    )


def _class_row(
    row: BreakdownRow,
    groups: Sequence[int],
    conditions: Mapping[str, Any],
    abstained: Sequence[ErrorType],
    links: ImageLinks,
) -> ClassRow:
    counts = {
        error_type: LinkedText(MISSING)
        if error_type in abstained
        else LinkedText(
            format_count(row.counts[error_type]),
            links.images(**conditions, error_type=error_type) if row.counts[error_type] else "",
        )
        for error_type in TOP1_ERROR_TYPES
    }
    return ClassRow(
        name=row.name,
        groups=" ".join(map(str, groups)),
        samples=format_count(row.num_samples),
        errors=format_count(sum(row.counts[error_type] for error_type in TOP1_ERROR_TYPES)),
        multi_label=format_percentage(row.multi_label_accuracy),
        failures=counts[SEVERE_TYPES[0]] if len(SEVERE_TYPES) == 1 else LinkedText(format_count(row.severe_errors)),
        segments=bar_segments(row.counts, {error_type: linked.url for error_type, linked in counts.items()}),
        description=counts_description([(error_type.title, row.counts[error_type]) for error_type in TOP1_ERROR_TYPES]),
        counts=tuple(counts.values()),
        gain_failures=format_points(sum(row.gain_if_fixed_multi_label[error_type] for error_type in SEVERE_TYPES)),
        gain_all=format_points(sum(row.gain_if_fixed_multi_label.values())),
        url=links.images(**conditions),
    )

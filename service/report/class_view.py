"""The results of superclasses and classes, and their confusions, as records for the template."""

from collections.abc import Sequence
from dataclasses import dataclass

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
    Confusion,
    ErrorType,
)
from service.report.elements import BarSegment, bar_segments
from service.report.messages.error_types import (
    counts_description,
)

ClassBreakdown = Sequence[tuple[BreakdownRow, Sequence[int]]]  # rows with the numbers of the groups of their classes


@dataclass(frozen=True)
class ClassRow:
    """The results of one superclass or class."""

    name: str
    groups: str  # numbers of the groups, for the filter
    samples: str
    errors: str
    multi_label: str
    failures: str
    segments: tuple[BarSegment, ...]
    description: str  # description of the segments
    counts: tuple[str, ...]  # of top-1 errors
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


def class_rows(rows: ClassBreakdown, abstained: Sequence[ErrorType]) -> tuple[ClassRow, ...]:
    """Return the superclasses or classes with errors, sorted by model failures."""
    ordered = sorted(
        ((row, groups) for row, groups in rows if any(row.counts[error_type] for error_type in TOP1_ERROR_TYPES)),
        key=lambda item: (
            -item[0].severe_errors,
            item[0].counts[ErrorType.CORRECT] - item[0].num_samples,
            item[0].name,
        ),
    )
    return tuple(_class_row(row, groups, abstained) for row, groups in ordered)


def _class_row(row: BreakdownRow, groups: Sequence[int], abstained: Sequence[ErrorType]) -> ClassRow:
    return ClassRow(
        name=row.name,
        groups=" ".join(map(str, groups)),
        samples=format_count(row.num_samples),
        errors=format_count(sum(row.counts[error_type] for error_type in TOP1_ERROR_TYPES)),
        multi_label=format_percentage(row.multi_label_accuracy),
        failures=format_count(row.severe_errors),
        segments=bar_segments(row.counts),
        description=counts_description([(error_type.title, row.counts[error_type]) for error_type in TOP1_ERROR_TYPES]),
        counts=tuple(
            MISSING if error_type in abstained else format_count(row.counts[error_type])
            for error_type in TOP1_ERROR_TYPES
        ),
        gain_failures=format_points(sum(row.gain_if_fixed_multi_label[error_type] for error_type in SEVERE_TYPES)),
        gain_all=format_points(sum(row.gain_if_fixed_multi_label.values())),
    )


def confusion_row(confusion: Confusion, examples: Sequence[str], names: Sequence[str]) -> ConfusionRow:
    """Convert a confusion and the names of example images for display; `names` are the names of the classes."""
    return ConfusionRow(
        names[confusion.target],
        names[confusion.predicted],
        format_count(confusion.count),
        counts_description([(error_type.title, count) for error_type, count in confusion.types.items()]),
        ", ".join(examples),
    )

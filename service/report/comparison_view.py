"""The content of a comparison as records for the template."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan

import numpy as np
from errata.groups import group_title
from errata.messages import (
    CLASS_ACCURACY,
    MISSING,
    abstention_notes,
    format_count,
    format_p_value,
    format_percentage,
    labels_accuracy_name,
)
from numpy.typing import NDArray

from service.domain import (
    ALL,
    ERROR_TYPES,
    METRIC_TYPES,
    TOP1_ERROR_TYPES,
    ChangedImage,
    Comparison,
    ErrorType,
    GroupComparison,
    Interval,
    PairedMetric,
    Summary,
    class_name_of,
)
from service.report import charts
from service.report.change_view import GroupChangeTables, change_tables
from service.report.comparison_page import ComparisonLinks, ComparisonPage, PageSource, comparison_page, transition
from service.report.direction import isolate
from service.report.elements import Chart, Property, css_class, make_chart
from service.report.messages.comparison import (
    INTERVALS_TITLE,
    PAIRED_METRIC_NAMES,
    RATE_NAMES,
    comparison_summary,
    error_type_rate_name,
    intervals_description,
    test_result,
)
from service.report.messages.coverage import compared_coverage_note
from service.report.messages.formatting import describe_change
from service.report.messages.pages import identity_text
from service.report.report_view import analysis_summary
from service.report.slices_view import SliceChangeRow, slice_change_rows

MAX_IMAGES = 200  # fixed or broken


@dataclass(frozen=True)
class Side:
    """One of the two analyses."""

    letter: str
    id: str
    title: str
    summary: str
    identity: str  # the name and the owner


@dataclass(frozen=True)
class MatrixCell:
    """The number of images with one error type in A and one in B."""

    count: str
    css_class: str
    url: str = ""  # of the images; empty: no images, or no page


@dataclass(frozen=True)
class MatrixRow:
    """The transitions of the images with one error type in A."""

    title: str
    css_class: str
    cells: tuple[MatrixCell, ...]
    total: str


@dataclass(frozen=True)
class TestRow:
    """The result of one paired test."""

    metric: str
    result: str
    only_a: str
    only_b: str
    p_value: str


@dataclass(frozen=True)
class IntervalRow:
    """One rate of A and B, and its change with the confidence interval."""

    name: str
    a: str
    b: str
    change: str


@dataclass(frozen=True)
class ChangedImageRow:
    """One fixed or broken image."""

    file_name: str
    target: str
    predicted_a: str
    predicted_b: str
    type_a: str
    css_class_a: str
    type_b: str
    css_class_b: str


@dataclass(frozen=True)
class GroupChangeRow:
    """The changes of one group."""

    group: str
    samples: str
    top1: str
    image_accuracy: str
    class_accuracy: str
    summary: str


@dataclass(frozen=True)
class ComparisonView:
    """The content of a comparison."""

    title: str
    summary: str
    sides: tuple[Side, Side]
    matrix_samples: str  # images in the matrix
    num_excluded: str  # images with a prediction of one analysis only; empty: none
    abstained: tuple[str, ...]
    type_titles: tuple[str, ...]
    matrix: tuple[MatrixRow, ...]
    matrix_totals: tuple[str, ...]
    top1_changes: tuple[str, str]  # fixed, broken
    tests: tuple[TestRow, ...]
    chart: Chart
    intervals: tuple[IntervalRow, ...]
    groups: tuple[GroupChangeRow, ...]
    changes: tuple[GroupChangeTables, ...]  # of groups with changes
    fixed: tuple[ChangedImageRow, ...]
    broken: tuple[ChangedImageRow, ...]
    num_fixed: int
    num_broken: int
    provenance: tuple[Property, ...]
    slices: tuple[SliceChangeRow, ...] = ()
    num_slices: int = 0  # including those that are not listed
    page: ComparisonPage | None = None  # None: a stand-alone file
    coverage: str = ""  # which images are compared; empty: both analyses cover all evaluated images


def comparison_view(
    comparison: Comparison,
    summary_a: Summary,
    summary_b: Summary,
    names: Sequence[str],
    source: PageSource | None = None,
) -> ComparisonView:
    """Convert a comparison for display.

    Args:
        comparison: The comparison.
        summary_a: The summary of A.
        summary_b: The summary of B.
        names: The names of the classes.
        source: What the web page shows in addition; None for a stand-alone file.

    Returns:
        The content of the page or of the file.
    """
    overall = comparison.groups[ALL]
    title_a, title_b = isolate(comparison.title_a), isolate(comparison.title_b)
    transitions = source.changes.transitions if source else overall.transitions
    labels_accuracy = labels_accuracy_name(comparison.dataset, comparison.num_rejected_targets)
    intervals = _intervals(overall, comparison.abstained, labels_accuracy)
    return ComparisonView(
        title=f"{title_a} → {title_b}",
        summary=f"{title_b}, compared with {title_a}: {comparison_summary(overall)}.",
        sides=(
            _side("A", comparison.id_a, comparison.title_a, summary_a, comparison.owners[0]),
            _side("B", comparison.id_b, comparison.title_b, summary_b, comparison.owners[1]),
        ),
        coverage=compared_coverage_note(*comparison.coverages, overall.num_samples),
        num_excluded=format_count(comparison.num_left_out) if comparison.num_left_out else "",
        abstained=tuple(abstention_notes([error_type.key for error_type in comparison.abstained])),
        type_titles=tuple(error_type.title for error_type in ERROR_TYPES),
        matrix=_matrix(transitions, comparison.abstained, source),
        matrix_totals=tuple(
            _evaluated_count(count, error_type in comparison.abstained)
            for error_type, count in zip(ERROR_TYPES, transitions.sum(axis=0).tolist(), strict=True)
        ),
        matrix_samples=format_count(int(transitions.sum())),
        top1_changes=(format_count(overall.top1_fixed), format_count(overall.top1_broken)),
        tests=tuple(
            TestRow(
                PAIRED_METRIC_NAMES[test.metric],
                test_result(test),
                format_count(test.only_a),
                format_count(test.only_b),
                format_p_value(test.p_value),
            )
            for test in overall.tests.values()
        ),
        chart=make_chart(
            charts.intervals(
                [(name, interval) for name, interval in intervals if not isnan(interval.low)],
                INTERVALS_TITLE,
                _interval_urls(comparison, source.links) if source else charts.NO_LINKS,
            ),
            intervals_description(intervals),
        ),
        intervals=tuple(
            IntervalRow(name, format_percentage(interval.a), format_percentage(interval.b), describe_change(interval))
            for name, interval in intervals
        ),
        groups=tuple(_group_row(group, changes) for group, changes in comparison.groups.items()),
        changes=tuple(
            change_tables(comparison, group, names, source.links if source and group == ALL else None)
            for group in comparison.groups
            if comparison.groups[group].type_changes or comparison.classes.get(group)
        ),
        slices=slice_change_rows(comparison.slices),
        num_slices=len(comparison.slices),
        fixed=_changed_images(comparison.fixed, names),
        broken=_changed_images(comparison.broken, names),
        num_fixed=overall.fixed(),
        num_broken=overall.broken(),
        page=comparison_page(comparison, source, names) if source else None,
        provenance=(
            Property("data set", comparison.dataset),
            Property("evidence digest", comparison.evidence),
            Property("A", comparison.id_a),
            Property("B", comparison.id_b),
            *([Property("attributes digest", comparison.attributes)] if comparison.attributes else []),
        ),
    )


def _side(letter: str, id: str, title: str, summary: Summary, owner: str) -> Side:
    return Side(letter, id, title, analysis_summary(title, summary), identity_text(id, owner))


def _intervals(
    overall: GroupComparison, abstained: Sequence[ErrorType], labels_accuracy: str
) -> list[tuple[str, Interval]]:
    if not overall.num_samples:
        return []
    rows = [(RATE_NAMES[metric], interval) for metric, interval in overall.rates.items()]
    if overall.class_accuracy is not None:
        rows.insert(2, (CLASS_ACCURACY, overall.class_accuracy))
    if overall.accuracy_against_labels is not None:
        rows.insert(1, (labels_accuracy, overall.accuracy_against_labels))
    return rows + [
        (error_type_rate_name(error_type.title), interval)
        for error_type, interval in overall.types.items()
        if (error_type,) not in METRIC_TYPES.values() and error_type not in abstained  # rows of rates
    ]


def _interval_urls(comparison: Comparison, links: ComparisonLinks) -> dict[str, str]:
    """Return the URLs of the images of B with the error type of a rate, by name of the rate.

    If an image has a prediction of one analysis only, the grid could have other images than the comparison.
    """
    rates = comparison.groups[ALL].types
    return {
        _type_rate_name(error_type): links.images_of_type(error_type)
        for error_type in TOP1_ERROR_TYPES
        if not comparison.num_left_out and error_type in rates and rates[error_type].b
    }


def _type_rate_name(error_type: ErrorType) -> str:
    names = {types: RATE_NAMES[metric] for metric, types in METRIC_TYPES.items()}
    return names.get((error_type,), error_type_rate_name(error_type.title))


def _evaluated_count(count: int, is_abstained: bool) -> str:
    return MISSING if is_abstained else format_count(count)


def _matrix(
    transitions: NDArray[np.int64], abstained: Sequence[ErrorType], source: PageSource | None
) -> tuple[MatrixRow, ...]:
    changed = transitions.copy()
    np.fill_diagonal(changed, 0)
    largest = max(1, int(changed.max()))
    rows = []
    for type_a in ERROR_TYPES:
        cells = []
        for type_b in ERROR_TYPES:
            count = int(transitions[type_a.position, type_b.position])
            url = ""
            if source and count:
                url = source.links.images(replace(source.changes.query, change=transition(type_a, type_b)))
            text = _evaluated_count(count, type_a in abstained or type_b in abstained)
            cells.append(MatrixCell(text, _cell_class(type_a, type_b, count, largest), url))
        total = _evaluated_count(int(transitions[type_a.position].sum()), type_a in abstained)
        rows.append(MatrixRow(type_a.title, css_class(type_a), tuple(cells), total))
    return tuple(rows)


def _cell_class(type_a: ErrorType, type_b: ErrorType, count: int, largest: int) -> str:
    """Return the CSS classes of a cell: its heat and, if the severity changes, its frame."""
    if type_a is type_b:
        return "same"
    if not count:
        return "none"
    heat = 1 + (count * 8 > largest) + (count * 4 > largest) + (count * 2 > largest)
    change = type_b.severity - type_a.severity
    frame = " worse" if change > 0 else " better" if change < 0 else ""
    return f"heat-{heat}{frame}"


def _group_row(group: str, changes: GroupComparison) -> GroupChangeRow:
    return GroupChangeRow(
        group=group_title(group),
        samples=format_count(changes.num_samples),
        top1=_from_a_to_b(changes.rates.get(PairedMetric.TOP1)),
        image_accuracy=_from_a_to_b(changes.rates.get(PairedMetric.MULTI_LABEL)),
        class_accuracy=_from_a_to_b(changes.class_accuracy),
        summary=comparison_summary(changes),
    )


def _from_a_to_b(interval: Interval | None) -> str:
    return MISSING if interval is None else f"{format_percentage(interval.a)} → {format_percentage(interval.b)}"


def _changed_images(images: Sequence[ChangedImage], names: Sequence[str]) -> tuple[ChangedImageRow, ...]:
    return tuple(
        ChangedImageRow(
            image.file_name,
            names[image.effective_target],
            class_name_of(names, image.predicted_a),
            class_name_of(names, image.predicted_b),
            image.type_a.title,
            css_class(image.type_a),
            image.type_b.title,
            css_class(image.type_b),
        )
        for image in images[:MAX_IMAGES]
    )

"""The changes of error types, superclasses, and classes, with their tests, as records for the template."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from errata.groups import group_title
from errata.messages import format_count, format_p_value, format_percentage, format_range

from service.domain import (
    BROKEN,
    FIXED,
    AdjustedTest,
    ChangeQuery,
    ChangeRow,
    Comparison,
    Interval,
    TypeChange,
)
from service.report.class_names import shorten
from service.report.comparison_page import ComparisonLinks
from service.report.elements import css_class

MAX_CLASSES = 50  # classes or superclasses


@dataclass(frozen=True)
class ChangeTableRow:
    """The change of one class, superclass, or error type."""

    name: str
    css_class: str  # of an error type
    samples: str
    only_a: str
    only_b: str
    rate_a: str
    rate_b: str
    interval: str
    p_value: str
    adjusted_p_value: str
    significant: bool
    url: str = ""  # of the page with the images of the class or superclass; empty: no page
    url_a: str = ""  # of the images of `only_a`
    url_b: str = ""  # of the images of `only_b`


@dataclass(frozen=True)
class GroupChangeTables:
    """The tables of changes of one group: families of tests."""

    group: str
    types: tuple[ChangeTableRow, ...]
    superclasses: tuple[ChangeTableRow, ...]
    classes: tuple[ChangeTableRow, ...]
    num_superclasses: int  # including those that are not listed
    num_classes: int


def change_tables(
    comparison: Comparison, group: str, names: Sequence[str], links: ComparisonLinks | None = None
) -> GroupChangeTables:
    """Convert the changes of one group for display; `names` are the names of the classes."""
    changes = comparison.groups[group]
    superclasses, classes = comparison.superclasses.get(group, ()), comparison.classes.get(group, ())
    return GroupChangeTables(
        group=group_title(group),
        types=tuple(_type_row(row, changes.num_samples) for row in changes.type_changes),
        superclasses=tuple(_class_row(row, names, links) for row in superclasses[:MAX_CLASSES]),
        classes=tuple(_class_row(row, names, links) for row in classes[:MAX_CLASSES]),
        num_superclasses=len(superclasses),
        num_classes=len(classes),
    )


def _type_row(row: TypeChange, num_samples: int) -> ChangeTableRow:
    counts = (num_samples, row.only_a, row.only_b)
    return _table_row(row.error_type.title, css_class(row.error_type), counts, row.share, row.test)


def _class_row(row: ChangeRow, names: Sequence[str], links: ComparisonLinks | None) -> ChangeTableRow:
    name = shorten(row.name) if row.class_index is None else names[row.class_index]
    table_row = _table_row(name, "", (row.num_samples, row.fixed, row.broken), row.errors, row.test)
    if links is None:
        return table_row
    if row.class_index is None:
        query = ChangeQuery(superclass=row.name)
    else:
        query = ChangeQuery(class_id=links.class_ids[row.class_index])
    return replace(
        table_row,
        url=links.page(query),
        url_a=links.images(replace(query, change=FIXED)) if row.fixed else "",
        url_b=links.images(replace(query, change=BROKEN)) if row.broken else "",
    )


def _table_row(
    name: str, css_class: str, counts: tuple[int, int, int], share: Interval, test: AdjustedTest
) -> ChangeTableRow:
    samples, only_a, only_b = map(format_count, counts)
    return ChangeTableRow(
        name=name,
        css_class=css_class,
        samples=samples,
        only_a=only_a,
        only_b=only_b,
        rate_a=format_percentage(share.a),
        rate_b=format_percentage(share.b),
        interval=format_range(share),
        p_value=format_p_value(test.p_value),
        adjusted_p_value=format_p_value(test.adjusted_p_value),
        significant=test.significant,
    )

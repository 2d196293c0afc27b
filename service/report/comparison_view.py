"""What the page of a comparison shows, as records that a template can walk."""

from collections.abc import Sequence
from dataclasses import dataclass

from errata.messages import (
    ERROR_TYPE_TITLES,
    GROUP_NAMES,
    abstention_note,
    format_count,
    format_percentage,
    format_points,
)
from markupsafe import Markup

from service.domain import (
    ERROR_TYPES,
    SEVERITY,
    ChangedImage,
    ChangeRow,
    Comparison,
    ErrorType,
    Group,
    GroupComparison,
    Interval,
    PairedMetric,
    Summary,
)
from service.report import charts
from service.report.messages import (
    INTERVALS_TITLE,
    PAIRED_METRIC_NAMES,
    interval_words,
    intervals_told,
    p_text,
    test_words,
    verdict_of_comparison,
)
from service.report.view import Picture, css_of, headline_of
from service.taxonomy.classes import class_names

SHOWN_ROWS = 50  # classes, superclasses
SHOWN_FLIPS = 200  # of each kind


@dataclass(frozen=True)
class Side:
    """One of the two analyses."""

    letter: str
    id: str
    title: str
    headline: str


@dataclass(frozen=True)
class MatrixCell:
    """How many images went from one type to another."""

    count: str
    css: str


@dataclass(frozen=True)
class MatrixRow:
    """Where the images of one type in A went."""

    title: str
    css: str
    cells: tuple[MatrixCell, ...]
    total: str


@dataclass(frozen=True)
class TestRow:
    """One paired test: in words, and in numbers."""

    question: str
    told: str
    only_a: str
    only_b: str
    p_value: str


@dataclass(frozen=True)
class IntervalRow:
    """One rate in A and B, and the interval of their difference."""

    name: str
    a: str
    b: str
    told: str


@dataclass(frozen=True)
class ChangeLine:
    """One class or superclass."""

    name: str
    samples: str
    fixed: str
    broken: str
    errors_a: str
    errors_b: str
    interval: str


@dataclass(frozen=True)
class FlipRow:
    """One image that was fixed or broken."""

    file_name: str
    target: str
    predicted_a: str
    predicted_b: str
    type_a: str
    css_a: str
    type_b: str
    css_b: str


@dataclass(frozen=True)
class GroupLine:
    """What changed in one group, in a sentence."""

    group: str
    samples: str
    verdict: str


@dataclass(frozen=True)
class ComparisonView:
    """All that the page of a comparison shows."""

    title: str
    verdict: str
    sides: tuple[Side, Side]
    samples: str
    left_out: str  # empty: none
    abstained: tuple[str, ...]
    type_titles: tuple[str, ...]
    matrix: tuple[MatrixRow, ...]
    matrix_totals: tuple[str, ...]
    top1_flips: tuple[str, str]
    tests: tuple[TestRow, ...]
    picture: Picture
    intervals: tuple[IntervalRow, ...]
    groups: tuple[GroupLine, ...]
    superclasses: tuple[ChangeLine, ...]
    classes: tuple[ChangeLine, ...]
    num_classes: int
    fixed: tuple[FlipRow, ...]
    broken: tuple[FlipRow, ...]
    num_fixed: int
    num_broken: int
    provenance: tuple[tuple[str, str], ...]


def comparison_view(found: Comparison, summary_a: Summary, summary_b: Summary) -> ComparisonView:
    """Return what the page shows."""
    everything = found.groups[Group.ALL]
    named = _intervals(everything, found.abstained)
    return ComparisonView(
        title=f"{found.title_a} → {found.title_b}",
        verdict=f"{found.title_b}, compared with {found.title_a}: {verdict_of_comparison(everything)}.",
        sides=(
            Side("A", found.id_a, found.title_a, headline_of(found.title_a, summary_a)),
            Side("B", found.id_b, found.title_b, headline_of(found.title_b, summary_b)),
        ),
        samples=format_count(everything.num_samples),
        left_out=format_count(found.num_left_out) if found.num_left_out else "",
        abstained=tuple(
            abstention_note(item, [kind for kind in ERROR_TYPES if kind > item and kind not in found.abstained])
            for item in found.abstained
        ),
        type_titles=tuple(ERROR_TYPE_TITLES[error_type_] for error_type_ in ERROR_TYPES),
        matrix=_matrix(everything),
        matrix_totals=tuple(map(format_count, everything.transitions.sum(axis=0).tolist())),
        top1_flips=(format_count(everything.top1_fixed), format_count(everything.top1_broken)),
        tests=tuple(
            TestRow(
                PAIRED_METRIC_NAMES[test.metric],
                test_words(test),
                format_count(test.only_a),
                format_count(test.only_b),
                p_text(test.p_value),
            )
            for test in everything.tests.values()
        ),
        picture=Picture(
            Markup(  # noqa: S704 - drawn by us
                charts.intervals(
                    [(name, -each.difference, -each.high, -each.low) for name, each in named], INTERVALS_TITLE
                )
            ),
            (intervals_told(named),),
        ),
        intervals=tuple(
            IntervalRow(name, format_percentage(each.a), format_percentage(each.b), interval_words(each))
            for name, each in named
        ),
        groups=tuple(
            GroupLine(GROUP_NAMES[group], format_count(each.num_samples), verdict_of_comparison(each))
            for group, each in found.groups.items()
        ),
        superclasses=_changes(found.superclasses),
        classes=_changes(found.classes),
        num_classes=len(found.classes),
        fixed=_changed_images(found.fixed),
        broken=_changed_images(found.broken),
        num_fixed=everything.fixed(),
        num_broken=everything.broken(),
        provenance=(
            ("data set", found.dataset),
            ("evidence, digest", found.evidence),
            ("A", found.id_a),
            ("B", found.id_b),
        ),
    )


def _intervals(found: GroupComparison, abstained: Sequence[ErrorType]) -> list[tuple[str, Interval]]:
    if not found.num_samples or found.multi_label_accuracy is None:
        return []
    names = {PairedMetric.SEVERE: "severe error rate", PairedMetric.MULTI_LABEL: "multi-label correct, share of images"}
    rows = [(names.get(question, PAIRED_METRIC_NAMES[question]), each) for question, each in found.rates.items()]
    rows.insert(1, ("multi-label accuracy, mean over classes", found.multi_label_accuracy))
    return rows + [
        (f"{ERROR_TYPE_TITLES[each]}, share of images", interval)
        for each, interval in found.types.items()
        if each not in (ErrorType.CORRECT, ErrorType.MODEL_FAILURE, *abstained)
    ]


def _matrix(found: GroupComparison) -> tuple[MatrixRow, ...]:
    off = found.transitions.copy()
    for place in range(len(ERROR_TYPES)):
        off[place, place] = 0
    largest = max(1, int(off.max()))
    rows = []
    for type_a in ERROR_TYPES:
        cells = []
        for type_b in ERROR_TYPES:
            count = int(found.transitions[type_a - 1, type_b - 1])
            cells.append(MatrixCell(format_count(count), _cell_css(type_a, type_b, count, largest)))
        total = int(found.transitions[type_a - 1].sum())
        rows.append(MatrixRow(ERROR_TYPE_TITLES[type_a], css_of(type_a), tuple(cells), format_count(total)))
    return tuple(rows)


def _cell_css(type_a: ErrorType, type_b: ErrorType, count: int, largest: int) -> str:
    if type_a is type_b:
        return "same"
    if not count:
        return "none"
    heat = 1 + (count * 8 > largest) + (count * 4 > largest) + (count * 2 > largest)
    change = SEVERITY[type_b] - SEVERITY[type_a]
    frame = " worse" if change > 0 else " better" if change < 0 else ""
    return f"heat-{heat}{frame}"


def _changes(rows: Sequence[ChangeRow]) -> tuple[ChangeLine, ...]:
    return tuple(
        ChangeLine(
            name=row.name,
            samples=format_count(row.num_samples),
            fixed=format_count(row.fixed),
            broken=format_count(row.broken),
            errors_a=format_percentage(row.errors.a),
            errors_b=format_percentage(row.errors.b),
            interval=f"{format_points(-row.errors.high)} to {format_points(-row.errors.low)}",
        )
        for row in rows[:SHOWN_ROWS]
    )


def _changed_images(flips: Sequence[ChangedImage]) -> tuple[FlipRow, ...]:
    names = class_names()
    return tuple(
        FlipRow(
            flip.file_name,
            names[flip.target],
            names[flip.predicted_a],
            names[flip.predicted_b],
            ERROR_TYPE_TITLES[flip.type_a],
            css_of(flip.type_a),
            ERROR_TYPE_TITLES[flip.type_b],
            css_of(flip.type_b),
        )
        for flip in flips[:SHOWN_FLIPS]
    )

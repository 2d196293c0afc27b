"""The content of the pages of the list and of an unfinished analysis, as records for the templates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from errata.messages import MISSING, STATE_NAMES, format_percentage
from errata.names import short_id_length

from service.domain import ALL, Analysis, AnalysisPage, State
from service.report.elements import BarSegment, bar_segments
from service.report.messages.coverage import partial_coverage
from service.report.messages.pages import COLUMN_NAMES, ORDER_NAMES, identity_text, list_caption, progress_text

MAX_COUNT = 1000  # analyses that are counted for a filter that needs a search


@dataclass(frozen=True)
class FilterLink:
    """A text, and the query of the list with the filter for it."""

    text: str
    query: str


@dataclass(frozen=True)
class AnalysisRow:
    """One row of the list."""

    id: str
    short_id: str
    title: str
    model: FilterLink  # without text: an upload
    dataset: str
    owner: FilterLink  # without text: unknown
    created: str
    state: str
    css_class: str
    is_implausible: bool
    is_final: bool
    has_result: bool
    progress: str  # empty: the analysis is finished
    top1: str
    multi_label: str
    severe: str
    segments: tuple[BarSegment, ...]
    labels: tuple[FilterLink, ...]
    coverage: str = ""  # such as "98.0 %"; empty: all evaluated images have a prediction, or unknown


@dataclass(frozen=True)
class Column:
    """A sortable column of the list, with the query that sorts the list by it, and the current direction."""

    name: str
    query: str
    direction: str  # value of aria-sort; empty: another column sorts the list
    is_text: bool


@dataclass(frozen=True)
class ListView:
    """The content of the list."""

    rows: tuple[AnalysisRow, ...]
    caption: str
    is_live: bool  # whether a row can still change
    columns: Mapping[str, Column]
    states: tuple[tuple[str, str], ...]
    orders: tuple[tuple[str, str], ...]
    datasets: tuple[tuple[str, str], ...]
    selection: Mapping[str, str]  # the filters and the order
    is_filtered: bool
    previous: str  # query of the previous page; empty: this is the first
    next: str
    is_incomplete: bool  # whether analyses can be missing
    problem: str | None = None  # why the filters were refused; None: they were not


@dataclass(frozen=True)
class Position:
    """The place of a page in a list. A number over MAX_COUNT means only that there are more than MAX_COUNT."""

    total: int
    first: int  # number of analyses before the page
    previous: str  # query of the previous page; empty: there is none
    next: str


@dataclass(frozen=True)
class PendingView:
    """An analysis without a result."""

    id: str
    title: str
    dataset: str
    identity: str  # the name and the owner
    state: str
    progress: str
    done: int
    total: int
    failure: str
    is_live: bool


def list_view(
    page: AnalysisPage, position: Position, datasets: Sequence[str], selection: Mapping[str, str]
) -> ListView:
    """Convert one page of analyses for display.

    Args:
        page: The analyses of the page.
        position: The place of the page.
        datasets: Data sets to filter by.
        selection: Filters and order by the names of the parameters.

    Returns:
        The content of the page.
    """
    analyses = page.analyses
    length = short_id_length(analysis.id for analysis in analyses)
    return ListView(
        rows=tuple(_row(analysis, length, selection) for analysis in analyses),
        caption=list_caption(position.first, len(analyses), position.total, MAX_COUNT),
        is_live=page.is_incomplete or any(not analysis.state.is_final for analysis in analyses),
        columns={name: _column(name, selection) for name in COLUMN_NAMES},
        states=tuple((state.name.lower(), STATE_NAMES[state]) for state in tuple(State)[1:]),
        orders=tuple(ORDER_NAMES.items()),
        datasets=tuple((name, name) for name in datasets),
        selection=selection,
        is_filtered=any(value for name, value in selection.items() if name != "order"),
        previous=position.previous,
        next=position.next,
        is_incomplete=page.is_incomplete,
    )


def refused_list_view(problem: str, datasets: Sequence[str], selection: Mapping[str, str]) -> ListView:
    """Return the page with the filters as they were sent, and why they were refused."""
    view = list_view(AnalysisPage((), None, False), Position(0, 0, "", ""), datasets, selection)
    return replace(view, problem=problem)


def list_query(selection: Mapping[str, str], **changes: str) -> str:
    """Return the query of the list with some filters and an order."""
    return urlencode({name: value for name, value in {**selection, **changes}.items() if value})


def label_filter(key: str, value: str) -> str:
    """Return the parameter `label` of a label: `key=value`, or `=key=value` with `%` and `=` of the key escaped."""
    if key and "=" not in key:
        return f"{key}={value}"
    return f"={key.replace('%', '%25').replace('=', '%3D')}={value}"


def pending_view(analysis: Analysis) -> PendingView:
    """Convert an analysis without a result for display."""
    failure = analysis.failure
    return PendingView(
        id=analysis.id,
        title=analysis.title,
        dataset=analysis.request.dataset,
        identity=identity_text(analysis.id, analysis.owner),
        state=STATE_NAMES[analysis.state],
        progress=progress_text(analysis.state, analysis.progress),
        done=analysis.progress.done,
        total=analysis.progress.total,
        failure=f"{failure.reason}: {failure.message}" if failure else "",
        is_live=not analysis.state.is_final,
    )


def _row(analysis: Analysis, length: int, selection: Mapping[str, str]) -> AnalysisRow:
    request = analysis.request
    overall = analysis.summary.groups[ALL] if analysis.summary else None
    return AnalysisRow(
        id=analysis.id,
        short_id=analysis.id[:length],
        title=analysis.title,
        model=FilterLink(request.model, list_query(selection, model=request.model)),
        dataset=request.dataset,
        owner=FilterLink(analysis.owner, list_query(selection, owner=analysis.owner)),
        created=f"{analysis.create_time:%Y-%m-%d %H:%M}",
        state=STATE_NAMES[analysis.state],
        css_class=f"state-{analysis.state.name.lower()}",
        is_implausible=analysis.implausible,
        coverage=partial_coverage(analysis),
        is_final=analysis.state.is_final,
        has_result=overall is not None,
        progress=progress_text(analysis.state, analysis.progress),
        top1=format_percentage(overall.top1_accuracy) if overall else MISSING,
        multi_label=format_percentage(overall.multi_label_accuracy) if overall else MISSING,
        severe=format_percentage(overall.severe_error_rate) if overall else MISSING,
        segments=bar_segments(overall.counts) if overall else (),
        labels=tuple(
            FilterLink(f"{key}={value}", list_query(selection, label=label_filter(key, value)))
            for key, value in sorted(request.labels.items())
        ),
    )


def _column(name: str, selection: Mapping[str, str]) -> Column:
    """Return a column. Its link sorts the list by the column, or reverses the order if the column already sorts it."""
    current, _, direction = selection["order"].partition(" ")
    is_text = name == "display_name"  # text is first sorted from A to Z, numbers from the highest one
    is_descending = not direction if current == name else not is_text
    aria = ("descending" if direction else "ascending") if current == name else ""
    return Column(
        COLUMN_NAMES[name], list_query(selection, order=f"{name} desc" if is_descending else name), aria, is_text
    )

"""The content of the pages of the list and of an unfinished analysis, as records for the templates."""

from collections.abc import Sequence
from dataclasses import dataclass

from errata.messages import MISSING, STATE_NAMES, format_count, format_percentage

from service.domain import ALL, Analysis, AnalysisPage, State
from service.report.elements import BarSegment, bar_segments
from service.report.messages.pages import ORDER_NAMES, progress_text


@dataclass(frozen=True)
class AnalysisRow:
    """One row of the list."""

    id: str
    title: str
    dataset: str
    created: str
    state: str
    css_class: str
    is_implausible: bool
    has_result: bool
    progress: str  # empty: the analysis is finished
    top1: str
    multi_label: str
    failures: str
    segments: tuple[BarSegment, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class ListView:
    """The content of the list."""

    rows: tuple[AnalysisRow, ...]
    total: int
    first: int
    last: int
    is_live: bool  # whether a row can still change
    states: tuple[tuple[str, str], ...]
    orders: tuple[tuple[str, str], ...]
    datasets: tuple[str, ...]
    state: str  # the selected filters
    dataset: str
    search: str
    order: str
    previous: str  # query of the previous page; empty: this is the first
    next: str
    is_incomplete: bool  # whether archived analyses can be missing


@dataclass(frozen=True)
class PendingView:
    """An analysis without a result."""

    id: str
    title: str
    dataset: str
    state: str
    progress: str
    done: int
    total: int
    failure: str
    is_live: bool


def list_view(
    page: AnalysisPage,
    total: int,
    first: int,
    datasets: Sequence[str],
    selection: dict[str, str],
    links: tuple[str, str],
) -> ListView:
    """Convert one page of analyses for display.

    Args:
        page: The analyses of the page.
        total: Number of analyses on all pages.
        first: Offset of the first one.
        datasets: Data sets to filter by.
        selection: Filters and order.
        links: Queries of the previous and of the next page; empty if there is none.

    Returns:
        The content of the page.
    """
    analyses = page.analyses
    previous, next_ = links
    return ListView(
        rows=tuple(_row(analysis) for analysis in analyses),
        total=total,
        first=first + 1 if analyses else 0,
        last=first + len(analyses),
        is_live=page.is_incomplete or any(not analysis.state.is_final for analysis in analyses),
        states=tuple((state.name.lower(), STATE_NAMES[state]) for state in tuple(State)[1:]),
        orders=tuple(ORDER_NAMES.items()),
        datasets=tuple(datasets),
        state=selection["state"],
        dataset=selection["dataset"],
        search=selection["search"],
        order=selection["order"],
        previous=previous,
        next=next_,
        is_incomplete=page.is_incomplete,
    )


def pending_view(analysis: Analysis) -> PendingView:
    """Convert an analysis without a result for display."""
    failure = analysis.failure
    return PendingView(
        id=analysis.id,
        title=analysis.title,
        dataset=analysis.request.dataset,
        state=STATE_NAMES[analysis.state],
        progress=progress_text(analysis.state, analysis.progress),
        done=analysis.progress.done,
        total=analysis.progress.total,
        failure=f"{failure.reason}: {failure.message}" if failure else "",
        is_live=not analysis.state.is_final,
    )


def _row(analysis: Analysis) -> AnalysisRow:
    overall = analysis.summary.groups[ALL] if analysis.summary else None
    return AnalysisRow(
        id=analysis.id,
        title=analysis.title,
        dataset=analysis.request.dataset,
        created=f"{analysis.create_time:%Y-%m-%d %H:%M}",
        state=STATE_NAMES[analysis.state],
        css_class=f"state-{analysis.state.name.lower()}",
        is_implausible=analysis.implausible,
        has_result=overall is not None,
        progress=progress_text(analysis.state, analysis.progress),
        top1=format_percentage(overall.top1_accuracy) if overall else MISSING,
        multi_label=format_percentage(overall.multi_label_accuracy) if overall else MISSING,
        failures=format_count(overall.severe_errors) if overall else MISSING,
        segments=bar_segments(overall.counts) if overall else (),
        labels=tuple(f"{key}={value}" for key, value in sorted(analysis.request.labels.items())),
    )

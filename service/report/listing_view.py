"""The content of the pages of the list, of an unfinished analysis, and of an image, as records for the templates."""

from collections.abc import Sequence
from dataclasses import dataclass

from errata.messages import MISSING, STATE_NAMES, format_count, format_percentage

from service.domain import ALL, Agreement, Analysis, AnalysisPage, State, Verdict
from service.report.elements import BarSegment, bar_segments
from service.report.error_view import ErrorRow, error_row
from service.report.messages.agreement import type_note
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


@dataclass(frozen=True)
class ImageView:
    """One image of an analysis."""

    analysis: str
    title: str
    row: ErrorRow
    image_url: str  # empty: the image is not available
    agreement: str = ""  # how often experts agree with the error type; empty: not known


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


def image_view(
    analysis: Analysis, verdict: Verdict, names: Sequence[str], image_url: str, agreement: Agreement | None = None
) -> ImageView:
    """Convert one image of an analysis for display.

    Args:
        analysis: The analysis.
        verdict: The verdict on the image.
        names: The names of the classes.
        image_url: The URL of the image; empty: not available.
        agreement: The agreement of the error types with experts; None: not known.
    """
    values = agreement.types.get(verdict.error_type) if agreement else None
    return ImageView(
        analysis=analysis.id,
        title=analysis.title,
        row=error_row(verdict, names),
        image_url=image_url,
        agreement=type_note(verdict.error_type, values) if values else "",
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

"""What the pages of the list, of one open analysis and of one image show, as records that a template can walk."""

from collections.abc import Sequence
from dataclasses import dataclass

from errata.messages import STATE_NAMES, format_count, format_percentage

from service.domain import Analysis, ErrorType, Group, State, Verdict
from service.report.messages import ORDER_WORDS, TRACE_TITLE, progress_words
from service.report.view import ErrorRow, Piece, error_row, headline_of, pieces_of


@dataclass(frozen=True)
class AnalysisRow:
    """One line of the list."""

    id: str
    title: str
    dataset: str
    created: str
    state: str
    css: str
    done: bool  # whether it has a result
    progress: str  # empty: it is final
    top1: str
    multi_label: str
    failures: str
    bar: tuple[Piece, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class ListView:
    """All that the list shows."""

    rows: tuple[AnalysisRow, ...]
    total: int
    first: int
    last: int
    live: bool  # whether any row is open
    states: tuple[tuple[str, str], ...]
    orders: tuple[tuple[str, str], ...]
    datasets: tuple[str, ...]
    state: str  # the filters that are chosen
    dataset: str
    search: str
    order: str
    earlier: str  # query of the page before; empty: this is the first
    later: str


@dataclass(frozen=True)
class OpenView:
    """An analysis that has no result, or none yet."""

    id: str
    title: str
    dataset: str
    state: str
    progress: str
    done: int
    total: int
    failure: str
    live: bool


@dataclass(frozen=True)
class ImageView:
    """One image of an analysis."""

    analysis: str
    title: str
    headline: str
    row: ErrorRow
    picture: str  # URL; empty: there is none
    trace_title: str


def list_view(
    analyses: Sequence[Analysis],
    total: int,
    first: int,
    datasets: Sequence[str],
    chosen: dict[str, str],
    earlier: str,
    later: str,
) -> ListView:
    """Return what the list shows: analyses number first + 1 on, of so many."""
    return ListView(
        rows=tuple(_row(analysis) for analysis in analyses),
        total=total,
        first=first + 1 if analyses else 0,
        last=first + len(analyses),
        live=any(not analysis.state.final for analysis in analyses),
        states=tuple((state.name.lower(), STATE_NAMES[state]) for state in tuple(State)[1:]),
        orders=tuple(ORDER_WORDS.items()),
        datasets=tuple(datasets),
        state=chosen["state"],
        dataset=chosen["dataset"],
        search=chosen["search"],
        order=chosen["order"],
        earlier=earlier,
        later=later,
    )


def open_view(analysis: Analysis) -> OpenView:
    """Return what the page of an analysis without a result shows."""
    failure = analysis.failure
    return OpenView(
        id=analysis.id,
        title=analysis.title,
        dataset=analysis.request.dataset,
        state=STATE_NAMES[analysis.state],
        progress=progress_words(analysis.state, analysis.progress),
        done=analysis.progress.done,
        total=analysis.progress.total,
        failure=f"{failure.reason}: {failure.message}" if failure else "",
        live=not analysis.state.final,
    )


def image_view(analysis: Analysis, verdict: Verdict, picture: str) -> ImageView:
    """Return what the page of one image shows."""
    assert analysis.summary is not None, "this is a bug: what is judged has a summary"
    return ImageView(
        analysis=analysis.id,
        title=analysis.title,
        headline=headline_of(analysis.title, analysis.summary),
        row=error_row(verdict),
        picture=picture,
        trace_title=TRACE_TITLE,
    )


def _row(analysis: Analysis) -> AnalysisRow:
    everything = analysis.summary.groups[Group.ALL] if analysis.summary else None
    return AnalysisRow(
        id=analysis.id,
        title=analysis.title,
        dataset=analysis.request.dataset,
        created=f"{analysis.create_time:%Y-%m-%d %H:%M}",
        state=STATE_NAMES[analysis.state],
        css=f"state-{analysis.state.name.lower()}",
        done=everything is not None,
        progress=progress_words(analysis.state, analysis.progress),
        top1=format_percentage(everything.top1_accuracy) if everything else "–",
        multi_label=format_percentage(everything.multi_label_accuracy) if everything else "–",
        failures=format_count(everything.counts[ErrorType.MODEL_FAILURE]) if everything else "–",
        bar=pieces_of(everything.counts) if everything else (),
        labels=tuple(f"{key}={value}" for key, value in sorted(analysis.request.labels.items())),
    )

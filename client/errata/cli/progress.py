"""The progress of an analysis on stderr: a bar on a terminal, and lines in the log of a pipeline."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console

from errata import Client, pb
from errata.cli.console import safe
from errata.enums import State
from errata.errors import ErrataError
from errata.messages import format_count, format_duration

if TYPE_CHECKING:
    from rich.progress import Progress

LOG_SECONDS = 5.0  # interval between two lines in a log


class _Display(Protocol):
    def update(self, analysis: pb.Analysis) -> None:
        """Show the progress of an analysis."""


def follow(client: Client, name: str, console: Console, timeout: float | None = None) -> pb.Analysis:
    """Show the progress of an analysis until it has finished.

    Args:
        client: The service.
        name: Name of the analysis.
        console: The console that shows the progress.
        timeout: Seconds after which the last known state is returned; None: no limit.

    Returns:
        The finished analysis, or its last known state after `timeout`.
    """
    end = None if timeout is None else time.monotonic() + timeout
    latest: pb.Analysis | None = None
    with _display(console) as display:
        for latest in client.watch(name, timeout):
            display.update(latest)
            if end is not None and time.monotonic() >= end:
                break
    return client.get(name) if latest is None else latest


@contextmanager
def names_on_error(analyses: Sequence[pb.Analysis], console: Console) -> Iterator[None]:
    """Print the IDs of queued analyses if the block raises an error, because they continue."""
    try:
        yield
    except ErrataError:
        identifiers = " ".join(safe(analysis.name.rpartition("/")[2]) for analysis in analyses)
        console.print(f"Queued: {identifiers}. 'errata wait ID' shows the progress of an analysis.", soft_wrap=True)
        raise


@contextmanager
def _display(console: Console) -> Iterator[_Display]:
    if not console.is_terminal:
        yield _Log(console)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bar(progress)


class _Bar:
    """A progress bar."""

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._task = progress.add_task("queued", total=None, rate="")

    def update(self, analysis: pb.Analysis) -> None:
        """Move the bar."""
        state = analysis.progress
        rate = f"{state.images_per_second:,.0f} images/s" if state.HasField("images_per_second") else ""
        self._progress.update(
            self._task, description=stage_of(analysis), completed=state.done, total=state.total or None, rate=rate
        )


class _Log:
    """Lines of text: one when the stage changes, and one every few seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stage = ""
        self._written = 0.0

    def update(self, analysis: pb.Analysis) -> None:
        """Write a line if one is due."""
        stage, now = stage_of(analysis), time.monotonic()
        is_new_stage = stage != self._stage
        if State(analysis.state).is_final or (not is_new_stage and now - self._written < LOG_SECONDS):
            return
        self._stage, self._written = stage, now
        self._console.print(progress_line(analysis, with_rate=not is_new_stage), markup=False)


def stage_of(analysis: pb.Analysis) -> str:
    """Return the stage of an analysis that has not finished."""
    if analysis.state == pb.Analysis.STATE_QUEUED:
        if analysis.progress.waiting_reason:
            return f"queued. {analysis.progress.waiting_reason}"
        if analysis.progress.HasField("live_workers") and not analysis.progress.live_workers:
            return "queued, no worker is running"
        return f"queued, position {analysis.progress.queue_position + 1}"
    if analysis.state == pb.Analysis.STATE_RUNNING and not analysis.progress.done:
        return "loading the model"
    return "predicting"


def progress_line(analysis: pb.Analysis, with_rate: bool) -> str:
    """Return the progress of an analysis as a line of a log.

    Args:
        analysis: The analysis.
        with_rate: Whether to include the rate and the remaining time. After the first batch, they are far off, because
            the time includes the loading of the model.
    """
    state = analysis.progress
    parts = [stage_of(analysis)]
    if analysis.state == pb.Analysis.STATE_RUNNING and state.done:
        parts.append(f"{format_count(state.done)} of {format_count(state.total)} images")
        if with_rate and state.HasField("images_per_second"):
            parts.append(f"{state.images_per_second:,.0f} images/s")
        if with_rate and state.HasField("eta"):
            parts.append(f"about {format_duration(state.eta.seconds)} left")
    return ", ".join(parts)

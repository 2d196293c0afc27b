"""The progress of a build on stderr: a bar on a terminal, and lines in a log."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from errata.messages import format_count, format_duration
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

LOG_SECONDS = 30.0  # interval between two lines in a log
RATE_SECONDS = 60.0  # the rate is the mean of this time, or of the last step if it took longer
Clock = Callable[[], float]


class Rate:
    """The number of items per second in the last minute of a stage."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque()  # times, and the number of items done

    def update(self, done: int) -> float | None:
        """Add a sample. Return the items per second; None if the rate is unknown. The first sample is the baseline."""
        now = self._clock()
        self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[1][0] >= RATE_SECONDS:
            self._samples.popleft()
        started, baseline = self._samples[0]
        return (done - baseline) / (now - started) if now > started and done > baseline else None


def speed_text(stage: str, remaining: int, rate: float | None) -> str:
    """Return the items per second and the remaining time of a stage; empty if the rate is unknown."""
    if rate is None:
        return ""
    unit = "texts" if stage.startswith("texts") else "images"
    number = f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
    return f"{number} {unit}/s" + (f", about {format_duration(remaining / rate)} left" if remaining else "")


@contextmanager
def show_progress(console: Console, clock: Clock = time.monotonic) -> Iterator[Callable[[str, int, int], None]]:
    """Show the stages of a build.

    Yields:
        A function to call with the stage, the number of items done, and the total. The first call of a stage is the
        baseline of its rate.
    """
    if not console.is_terminal:
        yield _Log(console, clock).update
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        yield _Bar(bars, clock).update


class _Bar:
    """A bar of the current stage."""

    def __init__(self, bars: Progress, clock: Clock) -> None:
        self._bars = bars
        self._clock = clock
        self._task = bars.add_task("reading", total=None, speed="")
        self._stage = ""

    def update(self, stage: str, done: int, total: int) -> None:
        """Move the bar, or begin a bar for a new stage."""
        if stage != self._stage:
            self._stage, self._rate = stage, Rate(self._clock)
            self._bars.reset(self._task, description=stage, total=total, speed="")
        speed = speed_text(stage, total - done, self._rate.update(done))
        self._bars.update(self._task, completed=done, speed=speed)


class _Log:
    """Lines of text: one at the start of a stage, one at its end, and one every half minute."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._stage = ""
        self._written = 0.0

    def update(self, stage: str, done: int, total: int) -> None:
        """Write a line if one is due."""
        now = self._clock()
        is_new = stage != self._stage
        if is_new:
            self._stage, self._rate = stage, Rate(self._clock)
        rate = self._rate.update(done)
        if is_new or done == total or now - self._written >= LOG_SECONDS:
            self._written = now
            parts = [f"{stage}: {format_count(done)} of {format_count(total)}", speed_text(stage, total - done, rate)]
            self._console.print(", ".join(part for part in parts if part), markup=False)

"""A measured figure, its reference, and whether it meets its target."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One row of the table. `aim` describes the condition of which `holds` is the outcome."""

    name: str
    value: float
    unit: str
    aim: str
    holds: bool
    reference: float | None = None  # value of the reference, in the same unit
    ratio: float | None = None  # value / reference


def median_seconds(run: Callable[[], object], times: int, warm: int = 2) -> float:
    """Return the median duration of a call, after warm-up calls."""
    for _ in range(warm):
        run()
    durations = []
    for _ in range(times):
        started = time.perf_counter()
        run()
        durations.append(time.perf_counter() - started)
    return statistics.median(durations)

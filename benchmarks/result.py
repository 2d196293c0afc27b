"""A measured figure, what it is compared with, and whether it holds its aim."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One row of the table. `aim` says in words what `holds` has checked."""

    name: str
    value: float
    unit: str
    aim: str
    holds: bool
    reference: float | None = None  # what it is compared with, in the same unit
    ratio: float | None = None  # value / reference


def median_seconds(run: Callable[[], object], times: int, warm: int = 2) -> float:
    """Return the median time of a call, after some that don't count."""
    for _ in range(warm):
        run()
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)

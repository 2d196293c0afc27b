"""The definitions of the benchmarks: a case aims at a ratio of its value to a reference that the same run measures.

A benchmark is a module with a function `measure` that yields results of its cases. Absolute values depend on the
machine. They are printed, and no aim refers to them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

# Factors from seconds, bytes, or images per second.
UNITS = {"ms": 1000.0, "s": 1.0, "MB": 1e-6, "images/s": 1.0, "/s": 1.0}


@dataclass(frozen=True)
class Aim:
    """A bound on a ratio."""

    bound: float
    is_minimum: bool = False

    def holds(self, ratio: float) -> bool:
        """Return whether a ratio is within the bound."""
        return ratio >= self.bound if self.is_minimum else ratio <= self.bound

    def __str__(self) -> str:
        return f"at {'least' if self.is_minimum else 'most'} {self.bound:g}"


def at_most(ratio: float) -> Aim:
    """Return the aim of a duration or a size."""
    return Aim(ratio)


def at_least(ratio: float) -> Aim:
    """Return the aim of a throughput."""
    return Aim(ratio, is_minimum=True)


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str  # the benchmark, and the case if it has several: `judge.fleet`
    what: str  # the value
    reference: str  # the value of the same kind that it is divided by
    unit: str  # a key of UNITS
    aim: Aim

    def measured(self, value: float, reference: float, *, problem: str = "") -> "Result":
        """Return the result of the case.

        Args:
            value: The value in seconds, bytes, or images per second.
            reference: The reference in the same unit.
            problem: A condition besides the ratio that was not met, such as lost requests.
        """
        return Result(self, value, reference, problem)


@dataclass(frozen=True)
class Result:
    """A measured case."""

    case: Case
    value: float
    reference: float
    problem: str = ""

    @property
    def ratio(self) -> float:
        """Return the value divided by the reference."""
        return self.value / self.reference

    @property
    def holds(self) -> bool:
        """Return whether the ratio is within its aim, without another problem."""
        return self.case.aim.holds(self.ratio) and not self.problem


def timed(call: Callable[[], object]) -> Callable[[], float]:
    """Return a function that makes a call and returns its seconds."""

    def measure() -> float:
        started = time.perf_counter()
        call()
        return time.perf_counter() - started

    return measure


def computed(call: Callable[[], object]) -> Callable[[], float]:
    """Return a function that makes a call and returns the processor seconds of its thread.

    Other load interrupts calls of more than a few milliseconds, but not shorter ones, and so changes their ratio.
    """

    def measure() -> float:
        started = time.thread_time()
        call()
        return time.thread_time() - started

    return measure


def rate(run: Callable[[], int]) -> Callable[[], float]:
    """Return a function that makes a run of some images and returns its images per second."""

    def measure() -> float:
        started = time.perf_counter()
        images = run()
        return images / (time.perf_counter() - started)

    return measure


def medians(*measures: Callable[[], float], times: int, warm: int = 2) -> list[float]:
    """Return the median of each measure: for calls that wait, for quantiles, and for throughputs."""
    return [median(values) for values in alternate(*measures, times=times, warm=warm)]


def minima(*measures: Callable[[], float], times: int, warm: int = 2) -> list[float]:
    """Return the minimum of each measure: for durations of computations, which other load only lengthens."""
    return [min(values) for values in alternate(*measures, times=times, warm=warm)]


def alternate(*measures: Callable[[], float], times: int, warm: int) -> list[list[float]]:
    """Return the values of each measure. They alternate, so that other load on the machine affects all of them.

    Args:
        *measures: Functions that return a value, such as those of `timed`.
        times: Number of values of each measure.
        warm: Number of values of each measure before these, which do not count.
    """
    values: list[list[float]] = [[] for _ in measures]
    pairs = list(zip(measures, values, strict=True))
    for _ in range(warm + times):
        for measure, measured in pairs:
            measured.append(measure())
        pairs.reverse()  # no measure always follows the same one
    return [measured[warm:] for measured in values]

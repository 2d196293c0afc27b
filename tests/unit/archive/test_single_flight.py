"""Single flight: concurrent callers share a run, and none gets the result of a run that began before its call."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from service.archive.single_flight import SingleFlight

CALLERS = 16


class Source:
    """A slow read that a test releases, and that counts its runs."""

    def __init__(self) -> None:
        self.shared: SingleFlight[int] = SingleFlight(self.read)
        self.runs = 0
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        self.error: Exception | None = None

    def read(self) -> int:
        self.runs += 1
        number = self.runs
        self.begun.release()
        assert self.may_end.acquire(timeout=10)
        if self.error is not None:
            raise self.error
        return number


def start_callers(source: Source, pool: ThreadPoolExecutor) -> "list[Future[int]]":
    """Call from many threads during a run, and return when all of them wait."""
    calls = [pool.submit(source.shared) for _ in range(CALLERS)]
    deadline = time.monotonic() + 10
    while len(source.shared._turn._waiters) < CALLERS:  # type: ignore[attr-defined]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return calls


def test_callers_during_a_run_share_the_next_one() -> None:
    source = Source()
    with ThreadPoolExecutor(CALLERS + 1) as pool:
        first = pool.submit(source.shared)
        assert source.begun.acquire(timeout=10)
        others = start_callers(source, pool)
        source.may_end.release(2)

        assert first.result(10) == 1
        assert {other.result(10) for other in others} == {2}
    assert source.runs == 2


def test_an_error_is_raised_for_all_callers_of_a_run_and_the_next_call_runs_again() -> None:
    source = Source()
    with ThreadPoolExecutor(CALLERS + 1) as pool:
        first = pool.submit(source.shared)
        assert source.begun.acquire(timeout=10)
        others = start_callers(source, pool)
        source.error = OSError("the disk is gone")
        source.may_end.release(2)
        for call in (first, *others):
            with pytest.raises(OSError, match="the disk is gone"):
                call.result(10)
        assert source.runs == 2
        source.error = None
        source.may_end.release()

        assert source.shared() == 3


def test_sequential_calls_do_not_share_a_run() -> None:
    source = Source()
    source.may_end.release(2)

    assert (source.shared(), source.shared()) == (1, 2)

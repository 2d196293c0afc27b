"""Single flight: callers at once share a run, and none gets the result of a run that began before its call."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from service.archive.single_flight import SingleFlight

CALLERS = 16


class Source:
    """A slow read that waits for a test and counts its runs."""

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


def waiting(source: Source, pool: ThreadPoolExecutor) -> "list[Future[int]]":
    """Call from many threads while a run is under way, and return once all of them wait."""
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
        others = waiting(source, pool)
        source.may_end.release(2)

        assert first.result(10) == 1
        assert {other.result(10) for other in others} == {2}
    assert source.runs == 2


def test_an_error_is_raised_to_all_who_share_the_run_and_the_next_call_runs_anew() -> None:
    source = Source()
    with ThreadPoolExecutor(CALLERS + 1) as pool:
        first = pool.submit(source.shared)
        assert source.begun.acquire(timeout=10)
        others = waiting(source, pool)
        source.error = OSError("the disk is gone")
        source.may_end.release(2)
        for call in (first, *others):
            with pytest.raises(OSError, match="the disk is gone"):
                call.result(10)
        assert source.runs == 2
        source.error = None
        source.may_end.release()

        assert source.shared() == 3


def test_a_call_after_another_runs_by_itself() -> None:
    source = Source()
    source.may_end.release(2)

    assert (source.shared(), source.shared()) == (1, 2)

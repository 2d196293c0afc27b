"""The fair queue: a free resource goes to the caller with the fewest, then to the longest wait."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from errata.errors import TooBusy, TruncatedUpload

from service.predictions.sandbox.fair_queue import FairQueue


class Waiter:
    """A thread that acquires a resource, records its turn, and returns the resource after `release`."""

    def __init__(self, queue: FairQueue[str], caller: str, turns: list[str]) -> None:
        self._queue = queue
        self._caller = caller
        self._turns = turns
        self.release = threading.Event()
        waiting = len(queue._waiting)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        while len(queue._waiting) == waiting and caller not in turns:  # it is in line, or was served at once
            time.sleep(0.001)

    def _run(self) -> None:
        with self._queue.acquire(self._caller, lambda: False):
            self._turns.append(self._caller)
            self.release.wait(30)

    def end(self) -> None:
        self.release.set()
        self._thread.join()


@contextmanager
def waiters(queue: FairQueue[str], callers: list[str], turns: list[str]) -> Iterator[list[Waiter]]:
    started: list[Waiter] = []
    try:
        for caller in callers:
            started.append(Waiter(queue, caller, turns))
        yield started
    finally:
        for resource in started:
            resource.end()


def wait_for(turns: list[str], count: int) -> None:
    while len(turns) < count:
        time.sleep(0.001)


def test_a_free_resource_goes_to_the_caller_with_the_fewest() -> None:
    queue, turns = FairQueue(["first", "second"], wait_seconds=30), []
    with waiters(queue, ["greedy", "greedy", "greedy", "greedy", "modest"], turns) as started:
        wait_for(turns, 2)
        assert turns == ["greedy", "greedy"]

        started[0].end()
        wait_for(turns, 3)

        assert turns[2] == "modest"


def test_callers_with_equally_many_resources_are_served_in_order_of_arrival() -> None:
    queue, turns = FairQueue(["only"], wait_seconds=30), []
    callers = ["a", "b", "c", "d"]
    with waiters(queue, callers, turns) as started:
        for count, waiter in enumerate(started, start=1):
            wait_for(turns, count)
            waiter.end()

    assert turns == callers


def test_a_call_that_waits_too_long_raises_too_busy() -> None:
    queue = FairQueue(["only"], wait_seconds=0.2)

    with (
        queue.acquire("a", lambda: False),
        pytest.raises(TooBusy) as caught,
        queue.acquire("b", lambda: False),
    ):
        pass

    assert caught.value.retry_after
    assert not queue._waiting


def test_a_cancelled_call_leaves_the_queue() -> None:
    queue = FairQueue(["only"], wait_seconds=30)

    with queue.acquire("a", lambda: False), pytest.raises(TruncatedUpload), queue.acquire("b", lambda: True):
        pass

    assert not queue._waiting


def test_a_resource_is_returned_when_its_block_fails() -> None:
    queue = FairQueue(["only"], wait_seconds=30)

    with pytest.raises(ZeroDivisionError), queue.acquire("a", lambda: False):
        raise ZeroDivisionError

    with queue.acquire("b", lambda: False) as resource:
        assert resource == "only"
    assert not queue._num_used

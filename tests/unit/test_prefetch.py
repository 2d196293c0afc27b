"""Prefetching: items arrive in order, only a few are prepared ahead, and no thread remains."""

import threading
import time

import pytest

from service.prefetch import BATCHES_AHEAD, prefetch


def test_items_are_returned_in_order() -> None:
    def prepare(name: str) -> str:
        time.sleep(0.02 if name in "ace" else 0)
        return name.upper()

    with prefetch("abcdefg", prepare, threads=3) as take:
        assert [take(3), take(2), take(5), take(5)] == [["A", "B", "C"], ["D", "E"], ["F", "G"], []]


def test_only_the_next_batches_are_prepared_ahead() -> None:
    started_items: list[int] = []
    names = [str(number) for number in range(100)]

    with prefetch(names, lambda name: started_items.append(int(name)), threads=2) as take:
        take(4)
        deadline = time.monotonic() + 5
        while len(started_items) < 4 * (1 + BATCHES_AHEAD) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)

        assert sorted(started_items) == list(range(4 * (1 + BATCHES_AHEAD)))


def test_several_items_are_prepared_in_parallel() -> None:
    together = threading.Barrier(3, timeout=5)

    with prefetch("abc", lambda name: together.wait(), threads=3) as take:
        assert sorted(take(3)) == [0, 1, 2]


def test_each_thread_is_initialized_first() -> None:
    initialized: set[int] = set()

    def prepare(name: str) -> bool:
        return threading.get_ident() in initialized

    with prefetch("abcdef", prepare, 3, lambda: initialized.add(threading.get_ident())) as take:
        assert take(6) == [True] * 6
    assert 1 <= len(initialized) <= 3


def test_an_error_is_raised_at_the_position_of_its_name() -> None:
    def prepare(name: str) -> str:
        if name == "b":
            raise ValueError(name)
        return name

    with prefetch("abc", prepare, threads=1) as take:
        assert take(1) == ["a"]
        with pytest.raises(ValueError, match="b"):
            take(2)


@pytest.mark.slow
def test_the_end_of_the_block_drops_queued_items_and_leaves_no_thread() -> None:
    started_items: list[str] = []

    def prepare(name: str) -> None:
        started_items.append(name)
        time.sleep(1 if int(name) >= 100 else 0)  # two items a second are started until the block ends

    before = set(threading.enumerate())
    with prefetch([str(number) for number in range(1000)], prepare, threads=2) as take:
        take(100)

    assert len(started_items) < 110  # of 300 that are submitted
    assert set(threading.enumerate()) <= before

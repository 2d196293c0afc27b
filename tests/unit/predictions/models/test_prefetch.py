"""Made ahead: in order, no further ahead than asked, and over at once."""

import threading
import time

import pytest

from service.predictions.models.prefetch import BATCHES_AHEAD, prefetch


def test_items_are_returned_in_order() -> None:
    def make(name: str) -> str:
        time.sleep(0.02 if name in "ace" else 0)
        return name.upper()

    with prefetch("abcdefg", make, threads=3) as take:
        assert [take(3), take(2), take(5), take(5)] == [["A", "B", "C"], ["D", "E"], ["F", "G"], []]


def test_only_the_next_batches_are_prepared_ahead() -> None:
    begun: list[int] = []
    names = [str(number) for number in range(100)]

    with prefetch(names, lambda name: begun.append(int(name)), threads=2) as take:
        take(4)
        deadline = time.monotonic() + 5
        while len(begun) < 4 * (1 + BATCHES_AHEAD) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)

        assert sorted(begun) == list(range(4 * (1 + BATCHES_AHEAD)))


def test_several_items_are_prepared_in_parallel() -> None:
    together = threading.Barrier(3, timeout=5)

    with prefetch("abc", lambda name: together.wait(), threads=3) as take:
        assert sorted(take(3)) == [0, 1, 2]


def test_an_error_is_raised_at_the_position_of_its_name() -> None:
    def make(name: str) -> str:
        if name == "b":
            raise ValueError(name)
        return name

    with prefetch("abc", make, threads=1) as take:
        assert take(1) == ["a"]
        with pytest.raises(ValueError, match="b"):
            take(2)


def test_the_end_of_the_block_drops_queued_items_and_leaves_no_thread() -> None:
    begun: list[str] = []

    def make(name: str) -> None:
        begun.append(name)
        time.sleep(0.05)

    before = threading.active_count()
    started = time.monotonic()
    with prefetch([str(number) for number in range(1000)], make, threads=2) as take:
        take(100)

    # 300 are asked for; the first 100 take 2.5 s, the other 200 would take 5 s more
    assert time.monotonic() - started < 4
    assert len(begun) < 110
    assert threading.active_count() == before

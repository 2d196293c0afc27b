"""Slots are bounded over all callers, and for each caller with a name."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from errata.errors import TooBusy

from service.api.concurrency import ConcurrencyLimit
from service.authorization import CALLER


def take(slots: ConcurrencyLimit, caller: str) -> Callable[[], None]:
    """Take a slot as a caller."""
    before = CALLER.set(caller)
    try:
        return slots.take()
    finally:
        CALLER.reset(before)


def test_no_more_are_held_than_there_are() -> None:
    slots = ConcurrencyLimit(2, "uploads", retry_after=3.0)
    with (
        slots.taken(),
        slots.taken(),
        pytest.raises(TooBusy, match="Too many uploads: at most 2 at once") as refused,
        slots.taken(),
    ):
        pass
    assert (refused.value.retry_after, slots.held) == (3.0, 0)


def test_a_slot_is_released_by_an_error() -> None:
    slots = ConcurrencyLimit(1, "uploads", retry_after=3.0)
    with suppress(ValueError), slots.taken():
        raise ValueError

    with slots.taken():
        assert slots.held == 1


@pytest.mark.parametrize(("count", "share"), [(1, 1), (2, 1), (3, 1), (8, 4), (64, 32)])
def test_a_caller_with_a_name_gets_half_and_others_the_rest(count: int, share: int) -> None:
    slots = ConcurrencyLimit(count, "uploads", retry_after=1.0)
    held = [take(slots, "busy") for _ in range(share)]

    with pytest.raises(TooBusy, match="at once"):
        take(slots, "busy")
    others = [take(slots, "") for _ in range(count - share)]  # without a name there is no share

    assert slots.held == count
    for release in (*held, *others):
        release()
    assert slots.held == 0
    take(slots, "busy")()

"""The concurrency limit: slots are bounded in total and per caller."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from errata.errors import TooBusy

from service.caller import CALLER, Caller
from service.concurrency import ConcurrencyLimit


def acquire(slots: ConcurrencyLimit, caller: str) -> Callable[[], None]:
    """Acquire a slot on behalf of a caller."""
    before = CALLER.set(Caller(caller))
    try:
        return slots.acquire()
    finally:
        CALLER.reset(before)


def test_a_call_above_the_limit_is_rejected() -> None:
    slots = ConcurrencyLimit(2, "uploads", retry_after=3.0)
    with (
        slots.slot(),
        slots.slot(),
        pytest.raises(TooBusy, match="Too many uploads: at most 2 at once") as refused,
        slots.slot(),
    ):
        pass
    assert (refused.value.retry_after, slots.in_use) == (3.0, 0)


def test_an_error_releases_the_slot() -> None:
    slots = ConcurrencyLimit(1, "uploads", retry_after=3.0)
    with suppress(ValueError), slots.slot():
        raise ValueError

    with slots.slot():
        assert slots.in_use == 1


@pytest.mark.parametrize(("count", "share"), [(1, 1), (2, 1), (3, 1), (8, 4), (64, 32)])
def test_an_authenticated_caller_gets_at_most_half_of_the_slots(count: int, share: int) -> None:
    slots = ConcurrencyLimit(count, "uploads", retry_after=1.0)
    releases = [acquire(slots, "busy") for _ in range(share)]

    with pytest.raises(TooBusy, match="at once"):
        acquire(slots, "busy")
    releases += [acquire(slots, "") for _ in range(count - share)]  # callers without a name have no share

    assert slots.in_use == count
    for release in releases:
        release()
    assert slots.in_use == 0
    acquire(slots, "busy")()

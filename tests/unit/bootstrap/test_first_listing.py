"""The first listing of the archive, which delays readiness."""

import asyncio
import threading
from collections.abc import Sequence

import pytest
from errata.errors import Unavailable

from service.archive.memory import InMemoryArchive
from service.bootstrap import first_listing
from service.bootstrap.first_listing import FirstListing
from service.domain import Analysis


class SlowArchive(InMemoryArchive):
    """An archive whose listing waits for the test, and then may fail."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error
        self.may_list = threading.Event()

    def list(self) -> Sequence[Analysis]:
        assert self.may_list.wait(10)
        if self.error is not None:
            raise self.error
        return super().list()


@pytest.mark.parametrize("error", [None, Unavailable("The archive is unavailable."), RuntimeError("a bug")])
def test_a_service_is_ready_when_the_first_listing_ends_or_fails(error: Exception | None) -> None:
    archive = SlowArchive(error)
    listing = FirstListing(archive)
    listing.start()
    assert not listing.is_read()

    archive.may_list.set()
    asyncio.run(listing.wait(asyncio.Event()))

    assert listing.is_read()


def test_a_stopped_process_does_not_wait_for_the_listing() -> None:
    archive = SlowArchive()
    listing = FirstListing(archive)
    listing.start()
    stopped = asyncio.Event()
    stopped.set()

    asyncio.run(listing.wait(stopped))

    assert not listing.is_read()
    archive.may_list.set()


def test_a_slow_listing_does_not_delay_readiness_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_listing, "LISTING_SECONDS", 0.0)
    archive = SlowArchive()
    listing = FirstListing(archive)
    listing.start()
    asyncio.run(listing.wait(asyncio.Event()))

    assert listing.is_read()
    archive.may_list.set()

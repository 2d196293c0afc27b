"""The first listing of the archive, for which readiness waits."""

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
    """An archive whose listing waits for a test, and may fail then."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error
        self.may_list = threading.Event()

    def list(self) -> Sequence[Analysis]:
        assert self.may_list.wait(10)
        if self.error is not None:
            raise self.error
        return super().list()


@pytest.mark.parametrize("error", [None, Unavailable("the archive is away"), RuntimeError("a bug")])
def test_a_service_is_ready_once_the_first_listing_has_ended_however_it_ended(error: Exception | None) -> None:
    archive = SlowArchive(error)
    listing = FirstListing(archive)
    listing.start()
    assert not listing.is_read()

    archive.may_list.set()
    asyncio.run(listing.wait(asyncio.Event()))

    assert listing.is_read()


def test_a_process_that_is_to_stop_does_not_wait_for_the_listing() -> None:
    archive = SlowArchive()
    listing = FirstListing(archive)
    listing.start()
    stopped = asyncio.Event()
    stopped.set()

    asyncio.run(listing.wait(stopped))

    assert not listing.is_read()
    archive.may_list.set()


def test_a_listing_without_end_does_not_keep_a_service_unready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_listing, "LISTING_SECONDS", 0.0)
    archive = SlowArchive()
    listing = FirstListing(archive)
    listing.start()
    asyncio.run(listing.wait(asyncio.Event()))

    assert listing.is_read()
    archive.may_list.set()

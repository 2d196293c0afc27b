"""The order in which waiting downloads get a slot, and the downloads that end for them."""

import asyncio

import pytest
from errata.errors import TooBusy

from service.api import downloads
from service.api.downloads import DownloadSlots
from service.caller import CALLER, Caller


class Downloads:
    """Downloads that run until they may end."""

    def __init__(self) -> None:
        self.slots = DownloadSlots()
        self.started: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.ends: dict[str, asyncio.Event] = {}

    async def start(self, name: str, caller: str = "") -> None:
        """Start a download, and let it get a slot if one is free."""
        self.ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._run(name, caller))
        await asyncio.sleep(0)

    async def _run(self, name: str, caller: str) -> None:
        CALLER.set(Caller(caller))
        async with self.slots.slot():
            self.started.append(name)
            await self.ends[name].wait()

    async def end(self, *names: str) -> None:
        """End downloads."""
        for name in names:
            self.ends[name].set()
            await self.tasks[name]


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(downloads, "CHECK_SECONDS", 0.01)
    return monkeypatch


async def test_waiting_downloads_get_free_slots_in_their_order(checks: pytest.MonkeyPatch) -> None:
    checks.setattr(downloads, "MAX_DOWNLOADS", 1)
    of = Downloads()
    for name in ("first", "second", "third"):
        await of.start(name)

    of.ends["first"].set()
    await of.tasks["first"]
    await of.start("late")  # while the slot is free
    await of.end("second", "third", "late")

    assert of.started == ["first", "second", "third", "late"]


async def test_a_download_ends_the_oldest_one_and_no_other(checks: pytest.MonkeyPatch) -> None:
    checks.setattr(downloads, "MAX_DOWNLOADS", 2)
    checks.setattr(downloads, "MIN_SECONDS", 0.05)
    of = Downloads()
    await of.start("oldest")
    await of.start("older")
    await asyncio.sleep(0.06)
    await of.start("new")
    checks.setattr(downloads, "MIN_SECONDS", 60.0)

    with pytest.raises(TooBusy, match="another one waited for its slot"):
        await of.tasks["oldest"]
    await of.end("older", "new")


async def test_a_caller_without_a_further_slot_does_not_block_others(checks: pytest.MonkeyPatch) -> None:
    checks.setattr(downloads, "MAX_DOWNLOADS", 2)
    of = Downloads()
    await of.start("busy 1", "busy")
    await of.start("busy 2", "busy")
    await of.start("other", "other")

    assert of.started == ["busy 1", "other"]
    await of.end("busy 1", "busy 2", "other")


async def test_a_download_is_refused_after_its_wait(checks: pytest.MonkeyPatch) -> None:
    checks.setattr(downloads, "MAX_DOWNLOADS", 1)
    checks.setattr(downloads, "WAIT_SECONDS", 0.05)
    of = Downloads()
    await of.start("running")
    await of.start("waiting")

    with pytest.raises(TooBusy, match="Too many downloads: at most 1 at once"):
        await of.tasks["waiting"]
    await of.end("running")

"""The order in which waiting downloads get a slot, and the downloads that end for them."""

import asyncio
from collections.abc import Callable

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

    async def start(self, *names: str, caller: str = "") -> None:
        """Start downloads, and let each get a slot if one is free."""
        for name in names:
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
def make_downloads(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Downloads]:
    def make(**constants: float) -> Downloads:
        for name, value in {"CHECK_SECONDS": 0.01, **constants}.items():
            monkeypatch.setattr(downloads, name, value)
        return Downloads()

    return make


async def test_waiting_downloads_get_free_slots_in_their_order(make_downloads: Callable[..., Downloads]) -> None:
    active = make_downloads(MAX_DOWNLOADS=1)
    await active.start("first", "second", "third")

    await active.end("first")
    await active.start("late")  # while the slot is free
    await active.end("second", "third", "late")

    assert active.started == ["first", "second", "third", "late"]


async def test_a_download_ends_the_oldest_one_and_no_other(
    make_downloads: Callable[..., Downloads], monkeypatch: pytest.MonkeyPatch
) -> None:
    active = make_downloads(MAX_DOWNLOADS=2, MIN_SECONDS=0.05)
    await active.start("oldest", "older")
    await asyncio.sleep(0.06)
    await active.start("new")
    monkeypatch.setattr(downloads, "MIN_SECONDS", 60.0)

    with pytest.raises(TooBusy, match="another one waited for its slot"):
        await active.tasks["oldest"]
    await active.end("older", "new")


async def test_a_caller_without_a_further_slot_does_not_block_others(make_downloads: Callable[..., Downloads]) -> None:
    active = make_downloads(MAX_DOWNLOADS=2)
    await active.start("busy 1", "busy 2", caller="busy")
    await active.start("other", caller="other")

    assert active.started == ["busy 1", "other"]
    await active.end("busy 1", "busy 2", "other")


async def test_a_download_is_refused_after_its_wait(make_downloads: Callable[..., Downloads]) -> None:
    active = make_downloads(MAX_DOWNLOADS=1, WAIT_SECONDS=0.05)
    await active.start("running", "waiting")

    with pytest.raises(TooBusy, match="Too many downloads: at most 1 at once"):
        await active.tasks["waiting"]
    await active.end("running")

"""The order in which waiting downloads get a slot, and the downloads that end for them."""

import asyncio
import traceback
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from errata.errors import InvalidRequest, TooBusy, Unavailable

from service.api import downloads
from service.api.downloads import CHUNK_BYTES, MAX_PAUSE_SECONDS, MIN_RATE, WAIT_SECONDS, FileSender
from service.bounded_executor import BoundedExecutor
from service.caller import CALLER, Caller


class InlineExecutor:
    """Calls functions without threads."""

    async def call_admitted(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)


class Reader:
    """The context of a download whose client reads when the test lets it."""

    def __init__(self) -> None:
        self.readable = asyncio.Semaphore(0)

    async def write(self, message: object) -> None:
        await self.readable.acquire()


class Downloads:
    """Downloads of one sender, and the clock of the event loop."""

    def __init__(self) -> None:
        executor = cast(BoundedExecutor, InlineExecutor())
        self.sender = FileSender(executor, executor)
        self.started: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.readers: dict[str, Reader] = {}

    async def start(self, *names: str, caller: str = "", pieces: int = 1, size: int = CHUNK_BYTES) -> None:
        """Start downloads whose files have `pieces` pieces, and let each get a slot if one is free."""
        for name in names:
            self.readers[name] = Reader()
            self.tasks[name] = asyncio.create_task(self._send(name, caller, [bytes(size)] * pieces))
            await self.settle()

    async def _send(self, name: str, caller: str, pieces: list[bytes]) -> None:
        def start() -> Iterator[bytes]:
            self.started.append(name)
            return iter(pieces)

        CALLER.set(Caller(caller))
        await self.sender.send(cast(Any, self.readers[name]), lambda: start)

    async def read(self, *names: str, seconds: float = 0.0) -> None:
        """After a number of seconds, read a chunk of each download."""
        await self.advance(seconds)
        for name in names:
            self.readers[name].readable.release()
        await self.settle()

    async def finish(self, *names: str) -> None:
        """Read the rest of each download."""
        for name in names:
            for _ in range(10):
                await self.read(name)
            self.tasks[name].result()

    async def advance(self, seconds: float) -> None:
        """Advance the clock of the event loop."""
        loop = asyncio.get_running_loop()
        time = loop.time() + seconds
        loop.time = lambda: time  # type: ignore[method-assign]
        await self.settle()

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.fixture
def make_downloads(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Downloads]:
    """Return a function that creates a sender with a number of slots."""

    def make(num_slots: int) -> Downloads:
        monkeypatch.setattr(downloads, "MAX_DOWNLOADS", num_slots)
        return Downloads()

    return make


Make = Callable[[int], Downloads]


async def test_waiting_downloads_get_free_slots_in_their_order(make_downloads: Make) -> None:
    active = make_downloads(1)
    await active.start("first", "second", "third")

    active.readers["first"].readable.release()
    await active.start("late")  # while the slot is free
    await active.finish("second", "third", "late")

    assert active.started == ["first", "second", "third", "late"]


async def test_a_caller_without_a_further_slot_does_not_block_others(make_downloads: Make) -> None:
    active = make_downloads(2)
    await active.start("busy 1", "busy 2", caller="busy")
    await active.start("other 1", caller="other")
    await active.start("late", caller="late")
    assert active.started == ["busy 1", "other 1"]

    await active.finish("other 1")
    await active.start("other 2", caller="other")

    await active.finish("busy 1", "busy 2", "other 2", "late")
    assert active.started == ["busy 1", "other 1", "late", "busy 2", "other 2"]


async def test_a_download_is_refused_after_its_wait(make_downloads: Make) -> None:
    active = make_downloads(1)
    await active.start("running", pieces=11)
    await active.start("waiting")
    for _ in range(10):
        await active.read("running", seconds=WAIT_SECONDS / 10)

    with pytest.raises(TooBusy, match="no slot became free within 90 seconds"):
        active.tasks["waiting"].result()
    await active.finish("running")


async def test_downloads_that_are_read_steadily_end_only_with_their_files(make_downloads: Make) -> None:
    """Each takes 75 seconds while another one waits."""
    active = make_downloads(2)
    await active.start("steady 1", "steady 2", pieces=6)
    await active.start("waiting")
    for _ in range(5):
        await active.read("steady 1", "steady 2", seconds=15)

    assert CHUNK_BYTES / 15 > MIN_RATE
    await active.finish("steady 1", "steady 2", "waiting")


async def test_a_download_ends_if_it_is_not_read_while_another_waits(make_downloads: Make) -> None:
    active = make_downloads(1)
    await active.start("unread", pieces=20)
    for _ in range(10):
        await active.read("unread")
    await active.start("waiting 1", "waiting 2")
    await active.advance(MAX_PAUSE_SECONDS - 1)
    assert active.started == ["unread"]

    await active.advance(1)

    with pytest.raises(TooBusy, match="read too slowly while another download waited for its slot"):
        active.tasks["unread"].result()
    await active.finish("waiting 1", "waiting 2")


async def test_an_ended_download_does_not_hold_its_file(make_downloads: Make) -> None:
    """If the client does not read, gRPC cannot send the error, and its traceback stays in memory."""
    active = make_downloads(1)
    await active.start("unread", pieces=2)
    await active.start("waiting")
    await active.advance(MAX_PAUSE_SECONDS)

    error = active.tasks["unread"].exception()

    assert error is not None
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_name == "send"]
    assert [(frame.f_locals["pieces"], frame.f_locals["piece"]) for frame in frames] == [(None, None)]
    await active.finish("waiting")


@pytest.mark.parametrize(("size", "seconds"), [(1, 1.0), (CHUNK_BYTES, 25.0)], ids=["bytes", "chunks"])
async def test_a_download_ends_if_it_is_read_too_slowly_while_another_waits(
    make_downloads: Make, size: int, seconds: float
) -> None:
    active = make_downloads(1)
    await active.start("slow", pieces=100, size=size)
    await active.start("waiting")
    for _ in range(round(MAX_PAUSE_SECONDS / seconds) + 1):
        await active.read("slow", seconds=seconds)

    with pytest.raises(TooBusy, match="read at least 4096 bytes a second"):
        active.tasks["slow"].result()
    await active.finish("waiting")


async def test_a_download_ends_the_one_that_has_been_too_slow_for_the_longest_time(make_downloads: Make) -> None:
    active = make_downloads(2)
    await active.start("slowest", "slow", pieces=2)
    await active.read("slow", seconds=1)
    await active.advance(10 * MAX_PAUSE_SECONDS)
    assert not active.tasks["slowest"].done(), "ended although no download waits"

    await active.start("new")

    with pytest.raises(TooBusy, match="read too slowly"):
        active.tasks["slowest"].result()
    await active.finish("slow", "new")


async def test_a_caller_without_a_further_slot_ends_only_its_own_download(make_downloads: Make) -> None:
    active = make_downloads(4)
    await active.start("busy", caller="busy")
    await active.start("own 1", "own 2", caller="other")
    await active.advance(MAX_PAUSE_SECONDS)

    await active.start("own 3", caller="other")

    with pytest.raises(TooBusy, match="read too slowly"):
        active.tasks["own 1"].result()
    await active.finish("busy", "own 2", "own 3")


async def test_a_download_that_was_paused_while_none_waited_can_continue(make_downloads: Make) -> None:
    active = make_downloads(1)
    await active.start("paused", pieces=3)
    await active.read("paused", seconds=100 * MAX_PAUSE_SECONDS)

    await active.start("waiting")

    await active.finish("paused", "waiting")


async def test_an_invalid_request_is_refused_before_it_waits(make_downloads: Make) -> None:
    active = make_downloads(1)
    await active.start("unread")
    await active.advance(MAX_PAUSE_SECONDS)

    def refuse() -> Callable[[], Iterator[bytes]]:
        raise InvalidRequest("invalid")

    with pytest.raises(InvalidRequest):
        await active.sender.send(cast(Any, Reader()), refuse)
    await active.finish("unread")


async def test_a_download_that_is_canceled_when_it_gets_a_slot_releases_it(make_downloads: Make) -> None:
    active = make_downloads(1)
    await active.start("first", "canceled")
    active.readers["first"].readable.release()
    for _ in range(10):
        if not active.tasks["first"].done():
            await asyncio.sleep(0)
    assert active.started == ["first"]

    active.tasks["canceled"].cancel()
    await active.settle()

    with pytest.raises(asyncio.CancelledError):
        active.tasks["canceled"].result()
    await active.start("next")
    await active.finish("next")


async def test_a_download_that_is_canceled_while_it_waits_gets_no_slot(make_downloads: Make) -> None:
    active = make_downloads(1)
    await active.start("first", "canceled", "next")

    active.tasks["canceled"].cancel()

    await active.finish("first", "next")
    assert active.started == ["first", "next"]


async def test_a_timeout_of_the_file_is_not_one_of_the_download(make_downloads: Make) -> None:
    def start() -> Iterator[bytes]:
        raise TimeoutError("archive")

    with pytest.raises(TimeoutError, match="archive"):
        await make_downloads(1).sender.send(cast(Any, Reader()), lambda: start)


async def test_no_download_waits_during_the_shutdown(make_downloads: Make) -> None:
    active = make_downloads(1)
    await active.start("running", "waiting")

    active.sender.stop()
    await active.start("late")

    for name in ("waiting", "late"):
        with pytest.raises(Unavailable, match="The service is shutting down"):
            active.tasks[name].result()
    await active.finish("running")

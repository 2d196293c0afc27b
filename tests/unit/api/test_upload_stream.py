"""The intake: what is fed on the loop is read in a thread, in order, bounded, and never for ever."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from errata.errors import TruncatedUpload
from hypothesis import given, settings
from hypothesis import strategies as st

from service.api.upload_stream import HIGH_WATER, UploadStream

SOON = 10.0  # seconds that a test waits at most for what takes milliseconds
BIG = b"x" * (1 << 20)


def read_all(intake: UploadStream, size: int) -> bytes:
    """Read until the end."""
    pieces = []
    while piece := intake.read(size):
        assert len(piece) <= size
        pieces.append(piece)
    return b"".join(pieces)


async def until(condition: threading.Event) -> None:
    assert await asyncio.to_thread(condition.wait, SOON)


async def ends_soon(task: "asyncio.Future[None]") -> bool:
    """Say whether a task ends without help; it is cancelled if not."""
    done, _ = await asyncio.wait([task], timeout=0.2)
    if not done:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return bool(done)


@given(chunks=st.lists(st.binary(min_size=1, max_size=50), max_size=20), size=st.integers(1, 64))
@settings(max_examples=50, deadline=None)
def test_a_thread_reads_what_was_fed_in_order(chunks: list[bytes], size: int) -> None:
    async def pipe() -> bytes:
        intake = UploadStream()
        with ThreadPoolExecutor(1) as pool:
            reading = asyncio.get_running_loop().run_in_executor(pool, read_all, intake, size)
            for chunk in chunks:
                await intake.feed(chunk)
            intake.close()
            return await asyncio.wait_for(reading, SOON)

    assert asyncio.run(pipe()) == b"".join(chunks)


async def test_a_reader_that_came_first_waits_for_the_bytes() -> None:
    intake = UploadStream()
    reading = asyncio.get_running_loop().run_in_executor(None, intake.read, 100)
    await asyncio.sleep(0.02)
    assert not reading.done()

    await intake.feed(b"here")

    assert await asyncio.wait_for(reading, SOON) == b"here"


async def test_the_end_is_empty_and_stays_empty() -> None:
    intake = UploadStream()
    await intake.feed(b"all")
    intake.close()

    assert await asyncio.to_thread(intake.read, 10) == b"all"
    assert await asyncio.to_thread(intake.read, 10) == b""
    assert await asyncio.to_thread(intake.read, 10) == b""


async def test_reading_nothing_takes_nothing() -> None:
    intake = UploadStream()
    await intake.feed(b"all")

    assert intake.read(0) == b""
    assert intake.read(2) == b"al"
    assert intake.read(2) == b"l"


async def test_an_empty_chunk_is_not_the_end_of_the_file() -> None:
    """A client may send one; the rest of its file must not be cut off in silence."""
    intake = UploadStream()
    for chunk in (b"first,", b"", b"second"):
        await intake.feed(chunk)
    intake.close()

    assert await asyncio.to_thread(read_all, intake, 100) == b"first,second"


async def test_feeding_waits_while_the_reader_is_behind() -> None:
    intake = UploadStream()
    for _ in range(HIGH_WATER // len(BIG)):
        await asyncio.wait_for(intake.feed(BIG), SOON)
    feeding = asyncio.ensure_future(intake.feed(b"too much"))
    await asyncio.sleep(0.02)
    assert not feeding.done()

    await asyncio.to_thread(intake.read, len(BIG))

    await asyncio.wait_for(feeding, SOON)


async def test_what_waits_is_bounded_whatever_is_fed() -> None:
    intake = UploadStream()
    fed = 0

    async def feed() -> None:
        nonlocal fed
        for _ in range(64):
            await intake.feed(BIG)
            fed += len(BIG)
        intake.close()

    feeding = asyncio.ensure_future(feed())
    taken = 0
    while piece := await asyncio.to_thread(intake.read, 300_000):
        taken += len(piece)
        assert fed - taken <= HIGH_WATER + len(BIG)
    await feeding

    assert taken == 64 * len(BIG)


async def test_the_loop_runs_on_while_feeding_waits() -> None:
    intake = UploadStream()
    feeding = asyncio.ensure_future(intake.feed(b"x" * (HIGH_WATER + 1)))
    ticks = 0
    for _ in range(5):
        await asyncio.sleep(0.001)
        ticks += 1

    assert (ticks, feeding.done()) == (5, False)
    intake.abort()
    await asyncio.wait_for(feeding, SOON)


async def test_an_abort_wakes_a_reader_that_waits() -> None:
    intake = UploadStream()
    entered = threading.Event()

    def read() -> bytes:
        entered.set()
        return intake.read(10)

    reading = asyncio.get_running_loop().run_in_executor(None, read)
    await until(entered)
    intake.abort()

    with pytest.raises(TruncatedUpload, match="end of the stream"):
        await asyncio.wait_for(reading, SOON)


async def test_after_an_abort_not_even_what_came_is_read() -> None:
    intake = UploadStream()
    await intake.feed(b"half of a row")
    intake.abort()

    with pytest.raises(TruncatedUpload):
        await asyncio.to_thread(intake.read, 10)


async def test_an_abort_from_another_thread_frees_who_feeds() -> None:
    intake = UploadStream()
    feeding = asyncio.ensure_future(intake.feed(b"x" * (HIGH_WATER + 1)))
    await asyncio.sleep(0)

    await asyncio.to_thread(intake.abort)

    await asyncio.wait_for(feeding, SOON)


async def test_feeding_never_waits_for_a_reader_that_has_gone() -> None:
    intake = UploadStream()
    intake.abort()
    await asyncio.sleep(0.01)

    assert await ends_soon(asyncio.ensure_future(intake.feed(b"x" * (HIGH_WATER + 1))))


async def test_a_reader_can_ask_whether_the_upload_was_aborted() -> None:
    intake = UploadStream()
    await intake.feed(b"half of a row")
    assert not intake.aborted

    intake.abort()

    assert await asyncio.to_thread(lambda: intake.aborted)

"""The upload stream: chunks are read in order by a thread, memory is bounded, and no side waits forever."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from errata.errors import TruncatedUpload
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st

from service.api.upload_stream import MAX_BUFFERED, UploadStream

SOON = 10.0  # seconds; a timeout that no passing test reaches
BIG = b"x" * (1 << 20)


def read_all(stream: UploadStream, size: int) -> bytes:
    """Read to the end of the file."""
    pieces = []
    while piece := stream.read(size):
        assert len(piece) <= size
        pieces.append(piece)
    return b"".join(pieces)


async def until(condition: threading.Event) -> None:
    assert await asyncio.to_thread(condition.wait, SOON)


async def ends_soon(task: "asyncio.Future[None]") -> bool:
    """Return whether a task ends; cancel it otherwise."""
    done, _ = await asyncio.wait([task], timeout=0.2)
    if not done:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return bool(done)


@given(chunks=st.lists(st.binary(min_size=1, max_size=50), max_size=20), size=st.integers(1, 64))
@max_examples(50)
def test_chunks_are_read_in_order(chunks: list[bytes], size: int) -> None:
    async def pipe() -> bytes:
        stream = UploadStream()
        with ThreadPoolExecutor(1) as pool:
            reading = asyncio.get_running_loop().run_in_executor(pool, read_all, stream, size)
            for chunk in chunks:
                await stream.feed(chunk)
            stream.close()
            return await asyncio.wait_for(reading, SOON)

    assert asyncio.run(pipe()) == b"".join(chunks)


async def test_a_reader_waits_for_the_first_chunk() -> None:
    stream = UploadStream()
    reading = asyncio.get_running_loop().run_in_executor(None, stream.read, 100)
    await asyncio.sleep(0.02)
    assert not reading.done()

    await stream.feed(b"here")

    assert await asyncio.wait_for(reading, SOON) == b"here"


async def test_reading_past_the_end_returns_an_empty_value() -> None:
    stream = UploadStream()
    await stream.feed(b"all")
    stream.close()

    assert await asyncio.to_thread(stream.read, 10) == b"all"
    assert await asyncio.to_thread(stream.read, 10) == b""
    assert await asyncio.to_thread(stream.read, 10) == b""


async def test_a_read_of_zero_bytes_consumes_nothing() -> None:
    stream = UploadStream()
    await stream.feed(b"all")

    assert stream.read(0) == b""
    assert stream.read(2) == b"al"
    assert stream.read(2) == b"l"


async def test_an_empty_chunk_is_not_the_end_of_the_file() -> None:
    """A client may send an empty chunk; the rest of its file must not be lost."""
    stream = UploadStream()
    for chunk in (b"first,", b"", b"second"):
        await stream.feed(chunk)
    stream.close()

    assert await asyncio.to_thread(read_all, stream, 100) == b"first,second"


async def test_feeding_waits_while_the_reader_is_behind() -> None:
    stream = UploadStream()
    for _ in range(MAX_BUFFERED // len(BIG)):
        await asyncio.wait_for(stream.feed(BIG), SOON)
    feeding = asyncio.ensure_future(stream.feed(b"too much"))
    await asyncio.sleep(0.02)
    assert not feeding.done()

    await asyncio.to_thread(stream.read, len(BIG))

    await asyncio.wait_for(feeding, SOON)


async def test_the_buffer_is_bounded() -> None:
    stream = UploadStream()
    fed = 0

    async def feed() -> None:
        nonlocal fed
        for _ in range(64):
            await stream.feed(BIG)
            fed += len(BIG)
        stream.close()

    feeding = asyncio.ensure_future(feed())
    num_read = 0
    while piece := await asyncio.to_thread(stream.read, 300_000):
        num_read += len(piece)
        assert fed - num_read <= MAX_BUFFERED + len(BIG)
    await feeding

    assert num_read == 64 * len(BIG)


async def test_the_event_loop_is_not_blocked_while_feeding_waits() -> None:
    stream = UploadStream()
    feeding = asyncio.ensure_future(stream.feed(b"x" * (MAX_BUFFERED + 1)))
    ticks = 0
    for _ in range(5):
        await asyncio.sleep(0.001)
        ticks += 1

    assert (ticks, feeding.done()) == (5, False)
    stream.abort()
    await asyncio.wait_for(feeding, SOON)


async def test_an_abort_wakes_a_waiting_reader() -> None:
    stream = UploadStream()
    entered = threading.Event()

    def read() -> bytes:
        entered.set()
        return stream.read(10)

    reading = asyncio.get_running_loop().run_in_executor(None, read)
    await until(entered)
    stream.abort()

    with pytest.raises(TruncatedUpload, match="before the end of the file"):
        await asyncio.wait_for(reading, SOON)


async def test_after_an_abort_buffered_chunks_are_not_read() -> None:
    stream = UploadStream()
    await stream.feed(b"half of a row")
    stream.abort()

    with pytest.raises(TruncatedUpload):
        await asyncio.to_thread(stream.read, 10)


async def test_an_abort_from_another_thread_wakes_the_feeder() -> None:
    stream = UploadStream()
    feeding = asyncio.ensure_future(stream.feed(b"x" * (MAX_BUFFERED + 1)))
    await asyncio.sleep(0)

    await asyncio.to_thread(stream.abort)

    await asyncio.wait_for(feeding, SOON)


async def test_feeding_after_an_abort_does_not_wait() -> None:
    stream = UploadStream()
    stream.abort()
    await asyncio.sleep(0.01)

    assert await ends_soon(asyncio.ensure_future(stream.feed(b"x" * (MAX_BUFFERED + 1))))


async def test_a_reader_can_check_whether_the_upload_was_aborted() -> None:
    stream = UploadStream()
    await stream.feed(b"half of a row")
    assert not stream.is_aborted

    stream.abort()

    assert await asyncio.to_thread(lambda: stream.is_aborted)

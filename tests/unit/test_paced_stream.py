"""The paced stream: a fast sender is read to the end, and a slow sender is refused."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import repeat

import pytest
from errata.errors import TruncatedUpload

from service import paced_stream as module
from service.paced_stream import PacedStream

SOON = 10.0  # seconds; a timeout that no passing test reaches


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the wait budget to 0.2 s, and let each byte add a millisecond."""
    monkeypatch.setattr(module, "MAX_WAIT_SECONDS", 0.2)
    monkeypatch.setattr(module, "MIN_RATE", 1000)


async def send(messages: Iterator[bytes], pause: float = 0.0, final_pause: float = 0.0) -> AsyncIterator[bytes]:
    """Send messages with a pause before each message and at the end."""
    for message in messages:
        await asyncio.sleep(pause)
        yield message
    await asyncio.sleep(final_pause)


async def read_all(stream: PacedStream) -> list[bytes]:
    """Read to the end of the stream; fail if it does not end."""
    result = []
    async with asyncio.timeout(SOON):
        while (message := await stream.next()) is not None:
            result.append(message)
    return result


async def test_a_stream_is_read_to_its_end() -> None:
    assert await read_all(PacedStream(send(iter([b"a", b"", b"b"])))) == [b"a", b"", b"b"]


async def test_a_fast_sender_may_take_longer_than_the_wait_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAIT_SECONDS", 2.0)
    messages = repeat(bytes(1000), 20)  # each message adds a second to the budget and takes 0.15

    assert len(await read_all(PacedStream(send(messages, pause=0.15)))) == 20


async def test_the_time_of_the_receiver_does_not_count() -> None:
    stream = PacedStream(send(iter([b"a", b"b"])))
    for message in (b"a", b"b", None):
        assert await stream.next() == message
        await asyncio.sleep(0.3)


@pytest.mark.parametrize(
    "messages",
    [
        send(iter([b"a"]), final_pause=2 * SOON),
        send(iter([]), final_pause=2 * SOON),
        send(repeat(b"a"), pause=0.05),
        send(repeat(b""), pause=0.05),
        send(repeat(b"")),
        send(iter([bytes(10_000)]), final_pause=2 * SOON),
    ],
    ids=["one message", "no message", "single bytes", "empty messages", "a flood of empty messages", "no end"],
)
async def test_a_slow_sender_is_rejected(messages: AsyncIterator[bytes]) -> None:
    with pytest.raises(TruncatedUpload, match="bytes of the file a second"):
        await read_all(PacedStream(messages))


async def test_a_fast_sender_is_rejected_after_the_total_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SECONDS", 0.3)

    with pytest.raises(TruncatedUpload):
        await read_all(PacedStream(send(repeat(bytes(1000)), pause=0.01)))


async def test_stop_ends_the_read_in_progress() -> None:
    stream = PacedStream(send(iter([b"a"]), final_pause=2 * SOON))
    asyncio.get_running_loop().call_later(0.02, stream.stop)

    assert await read_all(stream) == [b"a"]


async def test_stop_ends_later_reads() -> None:
    stream = PacedStream(send(iter([b"a"])))
    stream.stop()

    assert await read_all(stream) == []


async def test_a_timeout_of_the_sender_is_not_a_slow_sender() -> None:
    async def fail() -> AsyncIterator[bytes]:
        raise TimeoutError("of the sender")
        yield b""

    with pytest.raises(TimeoutError, match="of the sender"):
        await read_all(PacedStream(fail()))

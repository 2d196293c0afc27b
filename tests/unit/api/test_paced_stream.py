"""A sender that keeps the pace is read to its end; one that holds an upload with a few bytes is given up."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import repeat

import pytest
from errata.errors import TruncatedUpload

from service.api import paced_stream as module
from service.api.paced_stream import PacedStream

SOON = 10.0  # seconds; a deadline, not a measure


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give senders a fraction of a second, in which a byte buys a millisecond."""
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(module, "MIN_RATE", 1000)


async def sent(messages: Iterator[bytes], pause: float = 0.0, then: float = 0.0) -> AsyncIterator[bytes]:
    """Send messages with a pause before each, and be silent at the end."""
    for message in messages:
        await asyncio.sleep(pause)
        yield message
    await asyncio.sleep(then)


async def read_all(stream: PacedStream[bytes], until: "asyncio.Future[None] | None" = None) -> list[bytes]:
    """Read to the end; fail where it never comes."""
    result = []
    async with asyncio.timeout(SOON):
        while (message := await stream.next(until)) is not None:
            result.append(message)
    return result


async def test_a_stream_is_read_to_its_end() -> None:
    assert await read_all(PacedStream(sent(iter([b"a", b"", b"b"])), len)) == [b"a", b"", b"b"]


async def test_a_sender_that_keeps_the_pace_may_take_longer_than_its_patience() -> None:
    messages = repeat(bytes(100), 20)  # each buys 100 ms and costs 20

    assert len(await read_all(PacedStream(sent(messages, pause=0.02), len))) == 20


async def test_time_that_the_receiver_takes_costs_the_sender_nothing() -> None:
    stream = PacedStream(sent(iter([b"a", b"b"])), len)
    for message in (b"a", b"b", None):
        assert await stream.next() == message
        await asyncio.sleep(0.3)


@pytest.mark.parametrize(
    "messages",
    [
        sent(iter([b"a"]), then=2 * SOON),
        sent(iter([]), then=2 * SOON),
        sent(repeat(b"a"), pause=0.05),
        sent(repeat(b""), pause=0.05),
        sent(repeat(b"")),
        sent(iter([bytes(10_000)]), then=2 * SOON),
    ],
    ids=["silence", "nothing at all", "a byte now and then", "empty messages", "a flood of them", "all, and silence"],
)
async def test_a_sender_that_holds_the_stream_with_a_few_bytes_is_given_up(messages: AsyncIterator[bytes]) -> None:
    with pytest.raises(TruncatedUpload, match="bytes of the file a second"):
        await read_all(PacedStream(messages, len))


async def test_even_a_fast_sender_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SECONDS", 0.3)

    with pytest.raises(TruncatedUpload):
        await read_all(PacedStream(sent(repeat(bytes(1000)), pause=0.01), len))


async def test_a_stream_is_left_when_nobody_needs_it_any_more() -> None:
    done = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.02, done.set_result, None)

    assert await read_all(PacedStream(sent(iter([b"a"]), then=0.15), len), until=done) == [b"a"]
    assert done.done()

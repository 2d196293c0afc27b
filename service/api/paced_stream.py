"""A stream of messages whose sender must keep a pace, so that a few bytes hold an upload for seconds, not for hours."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, TypeVar

from errata.errors import TruncatedUpload

PATIENCE_SECONDS = 30.0  # of waiting that a sender has at the start, and at most
MIN_RATE = 4 << 10  # bytes that buy a second of waiting; 200 rows of CSV are as many
MAX_SECONDS = 600.0  # from the first message to the last

Message = TypeVar("Message")


class PacedStream(Generic[Message]):
    """Reads a stream; waiting for its sender costs patience, and bytes buy it back.

    A sender that is silent, that sends messages without content, or that is slower than MIN_RATE on average runs out
    of patience. The time that the receiver takes between two messages costs nothing.
    """

    def __init__(self, messages: AsyncIterator[Message], size_of: Callable[[Message], int]) -> None:
        """Start the deadline of the stream.

        Args:
            messages: The stream.
            size_of: Returns the bytes of a message that count as progress.
        """
        self._loop = asyncio.get_running_loop()
        self._messages = messages
        self._size_of = size_of
        self._patience = PATIENCE_SECONDS
        self._deadline = self._loop.time() + MAX_SECONDS

    async def next(self, until: "asyncio.Future[Any] | None" = None) -> Message | None:
        """Return the next message; None at the end of the stream, or once `until` is done.

        Raises:
            TruncatedUpload: The sender is too slow.
        """
        started = self._loop.time()
        left = min(self._patience, self._deadline - started)
        if left <= 0:  # however soon the next message would come
            raise _too_slow()
        coming = asyncio.ensure_future(anext(self._messages, None))
        try:
            ends = [coming] if until is None else [coming, until]
            await asyncio.wait(ends, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not coming.done():
                coming.cancel()
        if coming.done():
            message = coming.result()
            gained = 0.0 if message is None else self._size_of(message) / MIN_RATE
            self._patience = min(PATIENCE_SECONDS, self._patience - (self._loop.time() - started) + gained)
            return message
        if until is not None and until.done():
            return None
        raise _too_slow()


def _too_slow() -> TruncatedUpload:
    return TruncatedUpload(
        f"Upload too slow. Send at least {MIN_RATE} bytes of the file a second, pause for at most "
        f"{PATIENCE_SECONDS:.0f} seconds, and send all of it within {MAX_SECONDS:.0f} seconds.",
        field="chunk",
    )

"""A stream with a minimum rate, so that a slow sender occupies an upload slot for seconds instead of hours."""

import asyncio
from collections.abc import AsyncIterator

from errata.errors import TruncatedUpload

MAX_WAIT_SECONDS = 30.0  # initial and maximum wait budget of a sender
MIN_RATE = 4 << 10  # bytes that add one second to the wait budget; about 200 rows of CSV
MAX_SECONDS = 600.0  # time limit from the first message to the last


class PacedStream:
    """Reads a stream of messages. Waiting for the sender consumes a wait budget, and received bytes refill it.

    A sender that sends nothing, or is slower than MIN_RATE on average, exhausts the budget. The time that the receiver
    takes between two messages does not count.
    """

    def __init__(self, messages: AsyncIterator[bytes]) -> None:
        """Start the total time limit."""
        self._loop = asyncio.get_running_loop()
        self._messages = messages
        self._wait_budget = MAX_WAIT_SECONDS  # seconds
        self._deadline = self._loop.time() + MAX_SECONDS
        self._timeout: asyncio.Timeout | None = None  # of the wait in progress
        self._is_stopped = False

    async def next(self) -> bytes | None:
        """Return the next message, or None at the end of the stream or after `stop`.

        Raises:
            TruncatedUpload: The sender is too slow.
        """
        if self._is_stopped:
            return None
        started_at = self._loop.time()
        seconds = min(self._wait_budget, self._deadline - started_at)
        if seconds <= 0:
            raise _too_slow()
        try:
            async with asyncio.timeout(seconds) as self._timeout:
                message = await anext(self._messages, None)
        except TimeoutError:
            if self._is_stopped:
                return None
            if self._timeout is not None and self._timeout.expired():
                raise _too_slow() from None
            raise
        finally:
            self._timeout = None
        refill = 0.0 if message is None else len(message) / MIN_RATE
        self._wait_budget = min(MAX_WAIT_SECONDS, self._wait_budget - (self._loop.time() - started_at) + refill)
        return message

    def stop(self) -> None:
        """Let the current and all later calls of `next` return None."""
        self._is_stopped = True
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(self._loop.time())


def _too_slow() -> TruncatedUpload:
    return TruncatedUpload(
        f"Upload too slow. Send at least {MIN_RATE} bytes of the file a second, pause for at most "
        f"{MAX_WAIT_SECONDS:.0f} seconds, and send all of it within {MAX_SECONDS:.0f} seconds.",
        field="chunk",
    )

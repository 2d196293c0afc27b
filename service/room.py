"""Room: so many of something at once; one more ends the oldest, so that those who came first can't keep others out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.errors import TooBusy


class Room:
    """A bounded number of blocks that run at once, used on one event loop."""

    def __init__(self, most: int, seconds: float | None = None, spared: float = 0.0) -> None:
        """Make room.

        Args:
            most: Blocks that may run at once.
            seconds: How long a block may take; None: as long as there is room.
            spared: Seconds for which a block isn't ended to make room for another.
        """
        self._most = most
        self._seconds = seconds
        self._spared = spared
        self._running: dict[asyncio.Timeout, float] = {}  # since when, oldest first

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Run a block.

        Raises:
            TooBusy: There is no room, and not even the oldest block may be ended.
            TimeoutError: The block took too long, or made room.
        """
        now = asyncio.get_running_loop().time()
        while len(self._running) >= self._most:
            oldest, since = next(iter(self._running.items()))
            if now - since < self._spared:
                raise TooBusy(f"expected at most {self._most} at once, got more: try again later", retry_after=1.0)
            del self._running[oldest]
            _end(oldest)
        async with asyncio.timeout(self._seconds) as own:
            self._running[own] = now
            try:
                yield
            finally:
                self._running.pop(own, None)

    def end_all(self) -> None:
        """End all blocks."""
        for each in self._running:
            _end(each)


def _end(block: asyncio.Timeout) -> None:
    if not block.expired():  # by itself, a moment ago
        block.reschedule(0.0)

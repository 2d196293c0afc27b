"""A limit on blocks that run at the same time. One more ends the oldest: old callers cannot keep new ones out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from errata.errors import TooBusy


class EvictingLimiter:
    """A bounded number of blocks that run at the same time, used on one event loop."""

    def __init__(self, limit: int, timeout: float | None = None, min_seconds: float = 0.0) -> None:
        """Allow `limit` blocks.

        Args:
            limit: Blocks that may run at the same time.
            timeout: Seconds that a block may take; None: no bound.
            min_seconds: Seconds that a block gets before another one may evict it.
        """
        self._limit = limit
        self._timeout = timeout
        self._min_seconds = min_seconds
        self._running: dict[asyncio.Timeout, float] = {}  # block -> when it started, oldest first

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Run a block; evict the oldest one if there are too many.

        Raises:
            TooBusy: There are too many blocks, and the oldest one may not be evicted yet.
            TimeoutError: The block took too long, or was evicted.
        """
        now = asyncio.get_running_loop().time()
        while len(self._running) >= self._limit:
            oldest, started = next(iter(self._running.items()))
            if now - started < self._min_seconds:
                raise TooBusy(f"Too many requests: at most {self._limit} at once. Try again later.", retry_after=1.0)
            del self._running[oldest]
            _end(oldest)
        async with asyncio.timeout(self._timeout) as block:
            self._running[block] = now
            try:
                yield
            finally:
                self._running.pop(block, None)

    def evict_all(self) -> None:
        """End all blocks."""
        for block in self._running:
            _end(block)


def _end(block: asyncio.Timeout) -> None:
    if not block.expired():  # by itself, a moment ago
        block.reschedule(0.0)

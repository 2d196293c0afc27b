"""A limit on concurrent blocks. A new block evicts the oldest one, so old callers cannot starve new ones."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from errata.errors import TooBusy


class EvictingLimiter:
    """Limits the number of concurrent blocks on one event loop."""

    def __init__(self, limit: int, timeout: float | None = None, min_seconds: float = 0.0) -> None:
        """Create a limiter.

        Args:
            limit: Maximum number of concurrent blocks.
            timeout: Maximum duration of a block, in seconds; None: unlimited.
            min_seconds: Time after its start in which a block cannot be evicted, in seconds.
        """
        self._limit = limit
        self._timeout = timeout
        self._min_seconds = min_seconds
        self._running: dict[asyncio.Timeout, float] = {}  # block → start time, oldest first

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Run a block. Evict the oldest block if the limit is reached.

        Raises:
            TooBusy: If the limit is reached and the oldest block cannot be evicted yet.
            TimeoutError: If the block reaches the timeout or is evicted.
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
    if not block.expired():  # `reschedule` raises for an expired timeout
        block.reschedule(0.0)

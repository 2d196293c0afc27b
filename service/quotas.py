"""Requests per minute of a token, counted over all API processes."""

import asyncio
import time
from functools import partial
from typing import Any

import structlog
from errata.errors import QuotaExceeded, Unavailable

from service.caller import Caller
from service.key_value.commands import PREFIX, format_time
from service.key_value.memory_backend import MemoryBackend
from service.key_value.store import KeyValueStore, Transaction

MINUTE = 60.0  # seconds
ROUNDING = 1e-4  # seconds; stored times are rounded to microseconds
_log = structlog.get_logger()


class RequestQuota:
    """Counts the requests of callers with a limit. While Redis is unavailable, each process counts its own requests.

    Args:
        store: Counts the requests of all processes; None: count only the requests of this process.
    """

    def __init__(self, store: KeyValueStore[Any] | None = None) -> None:
        self._own = KeyValueStore(MemoryBackend(time.time), Transaction)
        self._store = store or self._own

    async def count(self, caller: Caller) -> None:
        """Count a request; raise QuotaExceeded if it exceeds the limit of the caller."""
        if caller.max_requests:
            await asyncio.to_thread(self.count_now, caller)

    def count_now(self, caller: Caller) -> None:
        """Count a request as `count` does, but block until the store answers."""
        step = partial(take_request, token=caller.name, limit=caller.max_requests)
        try:
            wait = self._store.run(step)
        except Unavailable as error:
            _log.warning("requests counted by this process only", error=error.message)
            wait = self._own.run(step)
        if wait > 0:
            raise QuotaExceeded(
                f"Token {caller.name!r} has made more than {caller.max_requests} requests per minute. Try again in "
                f"{wait:.1f} seconds, or ask the operator to raise the limit.",
                retry_after=wait,
            )


def take_request(tx: Transaction, token: str, limit: int) -> float:
    """Count a request of a token with a limit per minute.

    This is the generic cell rate algorithm. The key has a time, which each counted request moves forward by
    1 / `limit` minutes. A token can make `limit` requests at once, and then further requests at the even rate of
    `limit` per minute.

    Returns:
        Seconds until the next request; 0 if this one is within the limit.
    """
    now = tx.now
    counted_until = float(tx.get(f"requests:{token}") or 0)
    if counted_until > now + MINUTE + ROUNDING:  # the clock was set back
        counted_until = now
    counted_until = max(now, counted_until) + MINUTE / limit
    if counted_until - now > MINUTE + ROUNDING:
        return counted_until - now - MINUTE
    tx.write("SET", f"{PREFIX}requests:{token}", format_time(counted_until), "EX", int(MINUTE))
    return 0.0

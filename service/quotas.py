"""Requests per minute of a token, counted over all API processes in the job store."""

import asyncio
import time

import structlog
from errata.errors import QuotaExceeded, Unavailable

from service.caller import Caller
from service.jobs.memory import InMemoryJobStore
from service.jobs.store import JobStore

_log = structlog.get_logger()


class RequestQuota:
    """Counts the requests of callers with a limit. While Redis is unavailable, each process counts its own requests.

    Args:
        store: Counts the requests of all processes; None: count only the requests of this process.
    """

    def __init__(self, store: JobStore | None = None) -> None:
        self._own = InMemoryJobStore(time.time)
        self._store = store or self._own

    async def count(self, caller: Caller) -> None:
        """Count a request; raise QuotaExceeded if it exceeds the limit of the caller."""
        if caller.max_requests:
            await asyncio.to_thread(self.count_now, caller)

    def count_now(self, caller: Caller) -> None:
        """Count a request as `count` does, but block until the store answers."""
        try:
            wait = self._store.take_request(caller.name, caller.max_requests)
        except Unavailable as error:
            _log.warning("requests counted by this process only", error=error.message)
            wait = self._own.take_request(caller.name, caller.max_requests)
        if wait > 0:
            raise QuotaExceeded(
                f"Token {caller.name!r} has made more than {caller.max_requests} requests per minute. Try again in "
                f"{wait:.1f} seconds, or ask the operator to raise the limit.",
                retry_after=wait,
            )

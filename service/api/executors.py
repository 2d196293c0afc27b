"""Readers: the threads in which use cases run. What runs or waits there is bounded, over all callers and for each."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from service.api.concurrency import ConcurrencyLimit

THREADS = 8
MOST = 64  # calls that run or wait
RETRY_AFTER = 1.0  # seconds
Result = TypeVar("Result")


class Executors:
    """Runs use cases; more at once than MOST, or than a token's share of it, are refused with a delay."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="reader")
        self._slots = ConcurrencyLimit(MOST, "calls", RETRY_AFTER)

    async def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call a use case in a thread, with what is bound to this call for its logs; raise TooBusy for one too many."""
        with self._slots.taken():
            return await self.go_on(function, *arguments)

    async def go_on(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call in a thread what belongs to a call that was let in before."""
        run = partial(copy_context().run, function, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

"""Readers: the threads in which use cases run. What waits for them is bounded, over all callers and for each."""

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from service.access import CALLER
from service.errors import TooBusy

THREADS = 8
MOST = 64  # calls that run or wait
MOST_OF_ONE = 32  # of a caller with a name
RETRY_AFTER = 1.0  # seconds
Result = TypeVar("Result")


class Readers:
    """Runs use cases; more at once than MOST, or than MOST_OF_ONE for a caller's token, are told to come again."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="reader")
        self._running: Counter[str] = Counter()

    async def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call a use case in a thread, with what is bound to this call for its logs; raise TooBusy for one too many."""
        caller = CALLER.get()
        if self._running.total() >= MOST or (caller and self._running[caller] >= MOST_OF_ONE):
            raise TooBusy(
                f"expected at most {MOST} calls at once, {MOST_OF_ONE} of one token's, got more: try again",
                retry_after=RETRY_AFTER,
            )
        self._running[caller] += 1
        try:
            return await self.go_on(function, *arguments)
        finally:
            self._running[caller] -= 1
            if not self._running[caller]:
                del self._running[caller]

    async def go_on(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call in a thread what belongs to a call that was let in before."""
        run = partial(copy_context().run, function, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

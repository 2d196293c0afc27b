"""A thread pool for use cases, with a limit on running and waiting calls in total and per caller."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TypeVar, TypeVarTuple, Unpack

from service.concurrency import ConcurrencyLimit

THREADS = 8
MAX_CALLS = 64  # running and waiting
RETRY_AFTER = 1.0  # seconds
Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class BoundedExecutor:
    """Runs use cases in threads. Refuses calls above MAX_CALLS, or above a token's share of MAX_CALLS."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="reader")
        self._calls = ConcurrencyLimit(MAX_CALLS, "calls", RETRY_AFTER)

    async def call(self, function: Callable[[Unpack[Arguments]], Result], *arguments: *Arguments) -> Result:
        """Call a use case in a thread, within the context variables of the current call.

        Raises:
            TooBusy: The limit is reached.
        """
        with self._calls.slot():
            return await self.call_admitted(function, *arguments)

    async def call_admitted(self, function: Callable[[Unpack[Arguments]], Result], *arguments: *Arguments) -> Result:
        """Call a function in a thread on behalf of a call that was admitted before; the limit does not apply."""
        run = partial(copy_context().run, function, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

"""Threads for blocking calls, with a limit on running and waiting calls in total and per caller."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import TypeVar, TypeVarTuple, Unpack

from service.caller import CALLER
from service.concurrency import ConcurrencyLimit

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class BoundedExecutor:
    """Runs functions in threads. An authenticated caller leaves at least one thread to other callers."""

    def __init__(self, num_threads: int, thread_name: str, calls: ConcurrencyLimit) -> None:
        """Create the threads.

        Args:
            num_threads: Number of threads, at least 2.
            thread_name: Prefix of the names of the threads.
            calls: Limit on running and waiting calls.
        """
        self._threads = ThreadPoolExecutor(num_threads, thread_name_prefix=thread_name)
        self._calls = calls
        self._permits_by_caller = defaultdict(
            lambda: asyncio.Semaphore(num_threads - 1), {"": asyncio.Semaphore(num_threads)}
        )

    async def call(self, function: Callable[[Unpack[Arguments]], Result], *arguments: *Arguments) -> Result:
        """Call a function in a thread, within the context variables of the current call.

        Raises:
            TooBusy: The limit is reached.
        """
        with self._calls.slot():
            return await self.call_admitted(function, *arguments)

    async def call_admitted(self, function: Callable[[Unpack[Arguments]], Result], *arguments: *Arguments) -> Result:
        """Call a function in a thread on behalf of a call that was admitted before; the limit does not apply."""
        loop, permits = asyncio.get_running_loop(), self._permits_by_caller[CALLER.get().name]
        await permits.acquire()

        def release(_: object) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(permits.release)

        try:
            future = self._threads.submit(partial(copy_context().run, function, *arguments))
        except RuntimeError:  # no thread can be started, or the threads were stopped
            permits.release()
            raise
        future.add_done_callback(release)  # a call that is canceled does not end its thread
        return await asyncio.wrap_future(future)

    def stop(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

"""Prefetching: images are decoded in threads while a model runs on the previous batch.

Threads suffice because PIL releases the GIL while it decodes and resizes. Unlike processes, threads
need no copies of the images.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

BATCHES_AHEAD = 2
Prepared = TypeVar("Prepared")


@contextmanager
def prefetch(
    names: Sequence[str],
    prepare: Callable[[str], Prepared],
    threads: int,
    initialize_thread: Callable[[], None] | None = None,
) -> Iterator[Callable[[int], list[Prepared]]]:
    """Prepare items in threads, ahead of their use.

    The end of the block drops queued items, and waits for items that a thread is preparing.

    Args:
        names: Names of the items.
        prepare: Returns the item of a name.
        threads: Number of threads.
        initialize_thread: Called first in each thread.

    Yields:
        A function that returns the next `count` items in order; at the end, it returns fewer items, then no items.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode", initializer=initialize_thread)
    remaining = iter(names)
    pending: deque[Future[Prepared]] = deque()

    def take(count: int) -> list[Prepared]:
        while len(pending) < count * (1 + BATCHES_AHEAD) and (name := next(remaining, None)) is not None:
            pending.append(pool.submit(prepare, name))
        return [pending.popleft().result() for _ in range(min(count, len(pending)))]

    try:
        yield take
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

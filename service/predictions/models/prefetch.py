"""Images made ready ahead of the model, in threads: while it runs on one batch, the next ones are decoded.

Threads, since PIL decodes and resizes without Python's lock; nothing is copied between processes, and they end at once.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

AHEAD = 2  # batches that are made ready while one runs
Made = TypeVar("Made")


@contextmanager
def prefetch(names: Sequence[str], make: Callable[[str], Made], threads: int) -> Iterator[Callable[[int], list[Made]]]:
    """Give a function that returns what is made of the next so many names, in order; fewer at the end, then none.

    When the block ends, what isn't begun is dropped and what is in hand is awaited: an image a thread.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    left = iter(names)
    begun: deque[Future[Made]] = deque()

    def take(count: int) -> list[Made]:
        while len(begun) < count * (1 + AHEAD) and (name := next(left, None)) is not None:
            begun.append(pool.submit(make, name))
        return [begun.popleft().result() for _ in range(min(count, len(begun)))]

    try:
        yield take
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

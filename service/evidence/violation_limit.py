"""The number of problems that an error about a file lists."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

MAX_VIOLATIONS = 10

_limit: ContextVar[int] = ContextVar("max_violations", default=MAX_VIOLATIONS)


def max_violations() -> int:
    """Return the number of problems of one file that an error lists."""
    return _limit.get()


@contextmanager
def list_more_violations(count: int) -> Iterator[None]:
    """List up to `count` problems of each file that is read inside the block."""
    token = _limit.set(count)
    try:
        yield
    finally:
        _limit.reset(token)

"""Slots: how many of something may run at once; used on the event loop alone."""

from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import TooBusy


class Slots:
    """So many of something; one more is told to come again."""

    def __init__(self, count: int, what: str, retry_after: float) -> None:
        """Of `what` (a plural) `count` may run; `retry_after`: seconds until one that is refused may come again."""
        self._count = count
        self._what = what
        self._retry_after = retry_after
        self.held = 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold a slot; raise TooBusy if there is none."""
        if self.held >= self._count:
            raise TooBusy(
                f"expected at most {self._count} {self._what} at once, got more: try again later",
                retry_after=self._retry_after,
            )
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1

"""A queue for a few processes that is fair between callers, whatever one of them has waiting."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from errata.errors import TooBusy, TruncatedUpload

WAIT_STEP = 0.1  # seconds between two looks whether a waiting call was cancelled
RETRY_AFTER = 5.0  # seconds
Item = TypeVar("Item")


@dataclass(eq=False)
class _Ticket:
    """One call that waits."""

    caller: str


class FairQueue(Generic[Item]):
    """Hands out items; a free one goes to the caller that holds the fewest; ties go to the call that waits longest."""

    def __init__(self, items: Sequence[Item], wait_seconds: float) -> None:
        """Hand out `items`; a call waits at most `wait_seconds` for one."""
        self._idle = list(items)
        self._wait_seconds = wait_seconds
        self._held: Counter[str] = Counter()  # by caller
        self._waiting: list[_Ticket] = []  # in order of arrival
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, caller: str, is_cancelled: Callable[[], bool]) -> Iterator[Item]:
        """Give an item for the length of a block.

        Raises:
            TruncatedUpload: The call was cancelled while it waited.
            TooBusy: No item became free in time.
        """
        item = self._take(caller, is_cancelled)
        try:
            yield item
        finally:
            with self._changed:
                self._idle.append(item)
                self._held[caller] -= 1
                if not self._held[caller]:
                    del self._held[caller]
                self._changed.notify_all()

    def _take(self, caller: str, is_cancelled: Callable[[], bool]) -> Item:
        ticket, deadline = _Ticket(caller), time.monotonic() + self._wait_seconds
        with self._changed:
            self._waiting.append(ticket)
            try:
                while not self._idle or self._next() is not ticket:
                    self._changed.wait(WAIT_STEP)
                    if is_cancelled():
                        raise TruncatedUpload("The upload was cancelled while it waited.", field="chunk")
                    if time.monotonic() > deadline:
                        raise TooBusy("Too many files are being parsed. Try again later.", retry_after=RETRY_AFTER)
                self._held[caller] += 1
                return self._idle.pop()
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def _next(self) -> _Ticket:
        return min(self._waiting, key=lambda ticket: self._held[ticket.caller])

"""A fair queue for a few resources: a caller with many waiting calls does not delay other callers."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from errata.errors import TooBusy, TruncatedUpload

POLL_SECONDS = 0.1  # interval between two checks of whether a waiting call was canceled
RETRY_AFTER = 5.0  # seconds
Resource = TypeVar("Resource")


@dataclass(eq=False)
class _Ticket:
    """One waiting call."""

    caller: str


class FairQueue(Generic[Resource]):
    """Lends resources to callers.

    A free resource goes to the waiting caller that uses the fewest resources. In a tie, it goes to the oldest call.
    """

    def __init__(self, resources: Sequence[Resource], wait_seconds: float) -> None:
        """Create a queue for `resources`. A call waits at most `wait_seconds` for a resource."""
        self._idle = list(resources)
        self._wait_seconds = wait_seconds
        self._num_used: Counter[str] = Counter()  # number of used resources by caller
        self._waiting: list[_Ticket] = []  # waiting calls in order of arrival
        self._changed = threading.Condition()

    @contextmanager
    def acquire(self, caller: str, is_cancelled: Callable[[], bool]) -> Iterator[Resource]:
        """Lend a resource for the duration of a block.

        Args:
            caller: Name of the caller.
            is_cancelled: Returns whether the call was canceled.

        Raises:
            TruncatedUpload: The call was canceled while it waited.
            TooBusy: No resource became free in time.
        """
        resource = self._wait(caller, is_cancelled)
        try:
            yield resource
        finally:
            with self._changed:
                self._idle.append(resource)
                self._num_used[caller] -= 1
                if not self._num_used[caller]:
                    del self._num_used[caller]
                self._changed.notify_all()

    def _wait(self, caller: str, is_cancelled: Callable[[], bool]) -> Resource:
        ticket, deadline = _Ticket(caller), time.monotonic() + self._wait_seconds
        with self._changed:
            self._waiting.append(ticket)
            try:
                while not self._idle or self._next_ticket() is not ticket:
                    self._changed.wait(POLL_SECONDS)
                    if is_cancelled():
                        raise TruncatedUpload("The upload was canceled while it waited.", field="chunk")
                    if time.monotonic() > deadline:
                        raise TooBusy("Too many files are being parsed. Try again later.", retry_after=RETRY_AFTER)
                self._num_used[caller] += 1
                return self._idle.pop()
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def _next_ticket(self) -> _Ticket:
        return min(self._waiting, key=lambda ticket: self._num_used[ticket.caller])

"""A limit on concurrent calls, in total and per caller, used only on the event loop, and the end of uploads."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from errata.errors import TooBusy, Unavailable

from service.caller import CALLER

UPLOAD_RETRY_SECONDS = 2.0  # delay before a client retries an upload that exceeded the limit
ABORT_SECONDS = 0.5  # time before the end of the grace period at which uploads are ended, to send their status


class ConcurrencyLimit:
    """A fixed number of slots. An authenticated caller gets at most half of them, and at least one."""

    def __init__(self, limit: int, noun: str, retry_after: float) -> None:
        """Create the slots.

        Args:
            limit: Number of slots.
            noun: Plural of the thing that occupies a slot, for error messages.
            retry_after: Seconds after which a client may retry a refused call.
        """
        self.limit = limit
        self._limit_per_caller = max(1, limit // 2)
        self._noun = noun
        self._retry_after = retry_after
        self._slots_by_caller: Counter[str] = Counter()

    @property
    def in_use(self) -> int:
        """Return the number of occupied slots."""
        return self._slots_by_caller.total()

    def is_share_used(self, caller: str) -> bool:
        """Return whether an authenticated caller occupies all slots that it gets."""
        return bool(caller) and self._slots_by_caller[caller] >= self._limit_per_caller

    def acquire(self, caller: str | None = None) -> Callable[[], None]:
        """Occupy a slot.

        Args:
            caller: Name of the caller's token; None: the current caller.

        Returns:
            A function that releases the slot. Call it exactly once.

        Raises:
            TooBusy: All slots, or the caller's share of them, are occupied.
        """
        if caller is None:
            caller = CALLER.get().name
        if self.in_use >= self.limit:
            raise self._too_busy(f"{self.limit} at once")
        if self.is_share_used(caller):
            raise self._too_busy(f"{self._limit_per_caller} at once with one token")
        self._slots_by_caller[caller] += 1

        def release() -> None:
            self._slots_by_caller[caller] -= 1
            if not self._slots_by_caller[caller]:
                del self._slots_by_caller[caller]

        return release

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Occupy a slot while a block runs; raise TooBusy if none is free."""
        release = self.acquire()
        try:
            yield
        finally:
            release()

    def _too_busy(self, limit: str) -> TooBusy:
        return TooBusy(f"Too many {self._noun}: at most {limit}. Try again later.", retry_after=self._retry_after)


def make_upload_limit(max_uploads: int) -> ConcurrencyLimit:
    """Return the limit on uploads, which the servers of a process share."""
    return ConcurrencyLimit(max_uploads, "uploads", UPLOAD_RETRY_SECONDS)


def upload_seconds(grace: float) -> float:
    """Return how long open uploads continue in a grace period; both in seconds."""
    return max(grace / 2, grace - ABORT_SECONDS)


def interrupted_upload() -> Unavailable:
    """Return the error of an upload that the shutdown ends or refuses."""
    return Unavailable("The service is shutting down. Send the upload again.", retry_after=UPLOAD_RETRY_SECONDS)

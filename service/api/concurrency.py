"""Slots: how many of something may run at once, over all callers and for each; used on the event loop alone."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from errata.errors import TooBusy

from service.authorization import CALLER


class ConcurrencyLimit:
    """A bounded number of slots, of which a caller with a name gets at most half, and at least one."""

    def __init__(self, count: int, what: str, retry_after: float) -> None:
        """Make `count` slots.

        Args:
            count: How many may be held at once.
            what: What they are for, a plural.
            retry_after: Seconds after which a refused caller may try again.
        """
        self._count = count
        self._share = max(1, count // 2)
        self._what = what
        self._retry_after = retry_after
        self._held: Counter[str] = Counter()  # by caller

    @property
    def held(self) -> int:
        """Return how many slots are held."""
        return self._held.total()

    def take(self) -> Callable[[], None]:
        """Take a slot for the caller of the call in hand.

        Returns:
            A function that releases the slot; call it once.

        Raises:
            TooBusy: All slots, or the caller's share of them, are held.
        """
        caller = CALLER.get()
        if self.held >= self._count:
            raise self._refusal(f"{self._count} at once")
        if caller and self._held[caller] >= self._share:
            raise self._refusal(f"{self._share} at once with one token")
        self._held[caller] += 1

        def release() -> None:
            self._held[caller] -= 1
            if not self._held[caller]:
                del self._held[caller]

        return release

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold a slot for the length of a block; raise TooBusy if there is none."""
        release = self.take()
        try:
            yield
        finally:
            release()

    def _refusal(self, limit: str) -> TooBusy:
        return TooBusy(f"Too many {self._what}: at most {limit}. Try again later.", retry_after=self._retry_after)

"""A circuit breaker: after one call that waited in vain, further calls fail at once until the server answers again.

Own code, since pybreaker holds a lock for the length of each call (danielfm/pybreaker#55), which would queue all
callers behind one, and circuitbreaker has no locks at all (fabfuel/circuitbreaker#61).
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

SLOW = 0.5  # seconds; a failure that comes sooner, such as a refused connection, costs its caller nothing
GRACE = 0.05  # seconds that a call waits for an open breaker to close: a server that goes on needs some milliseconds
PAUSE = 0.25  # seconds between the beginnings of two probes that are refused at once
_log = structlog.get_logger()


class CircuitOpen(Exception):
    """Raised instead of making a call while the breaker is open."""


class CircuitBreaker:
    """Shared by all calls of a process to one server. Safe to use from several threads.

    A thread of its own probes the server while the breaker is open, one probe after the other without a pause, so that
    no caller is ever the probe, and a server that goes on is noticed at once.

    Args:
        probe: asks the server and returns whether it answers; takes as long as the server's timeout.
    """

    def __init__(self, probe: Callable[[], bool]) -> None:
        self._probe = probe
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._closed.set()

    @contextmanager
    def call(self, *failures: type[Exception]) -> Iterator[None]:
        """Guard a call: one of the given errors opens the breaker if it was slow to come.

        Args:
            failures: errors that mean that the server does not answer.

        Raises:
            CircuitOpen: the breaker is open; the call was not made.
        """
        if not self._closed.wait(GRACE):
            raise CircuitOpen
        began = time.monotonic()
        try:
            yield
        except failures:
            if time.monotonic() - began >= SLOW:
                self._begin_probing()
            raise

    def _begin_probing(self) -> None:
        with self._lock:
            if not self._closed.is_set():
                return
            self._closed.clear()
        _log.warning("circuit breaker opened")
        threading.Thread(target=self._probe_until_answered, name="breaker", daemon=True).start()

    def _probe_until_answered(self) -> None:
        answered = False
        while not answered:
            began = time.monotonic()
            try:
                answered = self._probe()
            except Exception:
                _log.exception("a probe met an error; the next one comes")
            if not answered:
                time.sleep(max(0.0, began + PAUSE - time.monotonic()))
        self._closed.set()
        _log.info("circuit breaker closed")

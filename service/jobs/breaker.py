"""A circuit breaker: after one call that timed out, further calls fail at once until the server answers again.

Own code, since pybreaker holds a lock for the length of each call (danielfm/pybreaker#55), which would queue all
callers behind one, and circuitbreaker has no locks at all (fabfuel/circuitbreaker#61).
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

SLOW_SECONDS = 0.5  # an error that comes sooner, such as a refused connection, does not open the breaker
GRACE_SECONDS = 0.05  # that a call waits for an open breaker: a server that was stopped answers within milliseconds
PROBE_SECONDS = 0.25  # at least, between the starts of two probes
_log = structlog.get_logger()


class CircuitOpen(Exception):
    """Raised instead of making a call while the breaker is open."""


class CircuitBreaker:
    """Shared by all calls of a process to one server. Safe to use from several threads.

    A thread probes the server while the breaker is open, so that no caller has to wait for a probe.

    Args:
        probe: Asks the server and returns whether it answers; takes at most the timeout of the server.
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
            failures: Errors that mean that the server does not answer.

        Raises:
            CircuitOpen: The breaker is open; the call was not made.
        """
        if not self._closed.wait(GRACE_SECONDS):
            raise CircuitOpen
        started = time.monotonic()
        try:
            yield
        except failures:
            if time.monotonic() - started >= SLOW_SECONDS:
                self._start_probing()
            raise

    def _start_probing(self) -> None:
        with self._lock:
            if not self._closed.is_set():
                return
            self._closed.clear()
        _log.warning("circuit breaker opened")
        threading.Thread(target=self._probe_until_answered, name="breaker", daemon=True).start()

    def _probe_until_answered(self) -> None:
        answered = False
        while not answered:
            started = time.monotonic()
            try:
                answered = self._probe()
            except Exception:
                _log.exception("a probe of the circuit breaker failed")
            if not answered:
                time.sleep(max(0.0, started + PROBE_SECONDS - time.monotonic()))
        self._closed.set()
        _log.info("circuit breaker closed")

"""A circuit breaker: after one call that timed out, further calls fail immediately until the server answers again.

This module replaces two libraries: pybreaker locks during each call, so that callers queue (danielfm/pybreaker#55), and
circuitbreaker has no locks (fabfuel/circuitbreaker#61).
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

SLOW_SECONDS = 0.5  # a faster error, such as a refused connection, does not open the breaker
GRACE_SECONDS = 0.05  # maximum wait of a call for an open breaker: a restarted server answers within milliseconds
PROBE_SECONDS = 0.25  # minimum interval between the starts of two probes
_log = structlog.get_logger()


class CircuitOpen(Exception):
    """Raised instead of making a call while the breaker is open, with the error that opened it."""


class CircuitBreaker:
    """A circuit breaker for all calls of a process to one server. Thread-safe.

    A thread probes the server while the breaker is open, so that no caller waits for a probe.

    Args:
        probe: Returns whether the server answers, within the timeout of a call.
    """

    def __init__(self, probe: Callable[[], bool]) -> None:
        self._probe = probe
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._closed.set()
        self._cause = ""  # the error that opened the breaker last

    @contextmanager
    def call(self, *failures: type[Exception]) -> Iterator[None]:
        """Run a block that calls the server. If it fails slowly with one of `failures`, the breaker opens.

        Args:
            failures: The errors of a server that does not answer.

        Raises:
            CircuitOpen: The breaker is open; the call was not made.
        """
        if not self._closed.wait(GRACE_SECONDS):
            raise CircuitOpen(self._cause)
        start_time = time.monotonic()
        try:
            yield
        except failures as error:
            if time.monotonic() - start_time >= SLOW_SECONDS:
                self._start_probing(str(error) or type(error).__name__)
            raise

    def _start_probing(self, cause: str) -> None:
        with self._lock:
            if not self._closed.is_set():
                return
            self._cause = cause
            self._closed.clear()
        _log.warning("circuit breaker opened", error=cause)
        threading.Thread(target=self._probe_until_available, name="breaker", daemon=True).start()

    def _probe_until_available(self) -> None:
        is_available = False
        while not is_available:
            start_time = time.monotonic()
            try:
                is_available = self._probe()
            except Exception:
                _log.exception("circuit breaker probe failed")
            if not is_available:
                time.sleep(max(0.0, start_time + PROBE_SECONDS - time.monotonic()))
        self._closed.set()
        _log.info("circuit breaker closed")

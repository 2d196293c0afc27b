"""Settings of this process: signal handlers, the limit of open files, and scheduling."""

import asyncio
import gc
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import structlog

from service.bootstrap.watchdog import Watchdog
from service.report.chart_process import CHART_PROCESS

MAX_FILES = 65_536
ENOUGH_FILES = 2_048  # with fewer, HTTP connections alone can exhaust the file descriptors
SWITCH_SECONDS = 0.001  # thread switch interval; Python's default of 5 ms adds up over a call
_log = structlog.get_logger()


@contextmanager
def reduced_latency() -> Iterator[None]:
    """Reduce the latency of calls while a block runs.

    A separate process draws charts, and threads switch every millisecond. Until the process ends, the garbage collector
    ignores all objects that exist at the start of the block: a full collection would pause all calls for 50 ms.
    """
    CHART_PROCESS.start()
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        sys.setswitchinterval(before)
        CHART_PROCESS.stop()


def raise_file_limit() -> None:
    """Raise the limit of open files, since each connection needs a file descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    if limit < ENOUGH_FILES:
        _log.warning("low limit of open files: connections may be refused", limit=limit, enough=ENOUGH_FILES)


@contextmanager
def stop_on_signals(stopped: asyncio.Event, grace: float) -> Iterator[None]:
    """Set an event at the first SIGTERM, SIGINT, or SIGHUP; end the process at the second or after the grace period.

    A further SIGHUP has no effect, because a shell and the kernel both send it when a terminal closes. SIGHUP stays
    ignored if it is ignored before, as under `nohup`.

    If the block ends without a signal, for example because a setting is invalid, the previous handlers are restored.

    Args:
        stopped: The event.
        grace: Seconds in which the process should stop; the watchdog ends it LATE_SECONDS later.
    """
    loop, watchdog = asyncio.get_running_loop(), Watchdog(grace)
    signals = 0

    def stop(number: int, _: object) -> None:  # runs in the main thread even if the event loop is blocked
        nonlocal signals
        if signals and number == signal.SIGHUP:
            return
        signals += 1
        if signals > 1:
            with suppress(RuntimeError):  # raised if the signal interrupts another log call
                _log.warning("process ended by a second signal")
            os._exit(1)
        watchdog.start()
        loop.call_soon_threadsafe(stopped.set)

    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        if not signals:  # after a signal, the watchdog also ends an interpreter that waits for its threads
            for number, handler in before.items():
                signal.signal(number, handler)
            watchdog.close()

"""This process: its signals, its files, and that calls stay short beside what it computes."""

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
from service.report import chart_process

MOST_FILES = 65_536
FEW_FILES = 2_048  # below, connections over HTTP alone may use up what a process may open
SWITCH_SECONDS = 0.001  # after which a thread that computes gives way; Python's own 5 ms add up over a call
_log = structlog.get_logger()


@contextmanager
def responsive() -> Iterator[None]:
    """Keep the calls of a service short for the length of a block.

    Pictures are drawn in a process of their own, threads that compute give way after a millisecond, and what is loaded
    by now is never looked through for garbage again, which would hold all calls up for 50 ms now and then.
    """
    chart_process.start()
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(before)
        chart_process.stop()


def allow_files() -> None:
    """Let this process have as many files open as it may: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < FEW_FILES:
        _log.warning("few files may be open: connections will be refused", limit=wanted, enough=FEW_FILES)


def stop_on_signals(stopped: asyncio.Event, grace: float) -> None:
    """Set the event at the first SIGTERM or SIGINT; end the process at the second, or if it is late.

    Args:
        stopped: The event.
        grace: Seconds that the process has to stop in; the watchdog ends it some seconds later.
    """
    loop, watchdog = asyncio.get_running_loop(), Watchdog(grace)
    signals = 0

    def stop(*_: object) -> None:  # in the main thread at once, though the loop may be held up
        nonlocal signals
        signals += 1
        if signals > 1:
            with suppress(RuntimeError):  # it came while a line was being written
                _log.warning("ended by a second signal")
            os._exit(1)
        watchdog.start()
        loop.call_soon_threadsafe(stopped.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)

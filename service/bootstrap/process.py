"""This process: its signals, its files, and that calls stay short beside what it computes."""

import asyncio
import gc
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from service.report import pen

MOST_FILES = 65_536
SWITCH_SECONDS = 0.001  # after which a thread that computes gives way; Python's own 5 ms add up over a call
_log = structlog.get_logger()


@contextmanager
def responsive() -> Iterator[None]:
    """Keep the calls of a service short for the length of a block.

    Pictures are drawn in a process of their own, threads that compute give way after a millisecond, and what is loaded
    by now is never looked through for garbage again, which would hold all calls up for 50 ms now and then.
    """
    pen.start()
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(before)
        pen.stop()


def allow_files() -> None:
    """Let this process have as many files open as it may: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def stop_on_signals(stopped: asyncio.Event) -> None:
    """Set the event at the first SIGTERM or SIGINT; end the process at the second."""

    def stop() -> None:
        if stopped.is_set():
            _log.warning("ended by a second signal")
            os._exit(1)
        stopped.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)

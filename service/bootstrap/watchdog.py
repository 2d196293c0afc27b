"""The watchdog: ends the process some seconds after SIGTERM or SIGINT, whatever still runs.

A thread cannot be ended from outside: one in a long computation would keep the process alive for as long as it takes,
and so would a call to a Redis that hangs.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import structlog

from service.bootstrap import kill_parent

LATE_SECONDS = 5.0  # after the grace period; the process has ended by then
LOG_SECONDS = 1.0  # of it, that are left to the process that kills this one
WAITING = {"concurrent.futures.thread", "queue", "selectors", "threading"}  # modules in which idle threads wait
_log = structlog.get_logger()


class Watchdog:
    """Ends this process LATE_SECONDS after the grace period.

    A thread logs what still runs and ends the process. Where no thread can run, a child process kills this one
    (kill_parent.py).
    """

    def __init__(self, grace: float) -> None:
        """Start the child process, and report signals to it; call it in the main thread.

        Args:
            grace: Seconds from the signal on in which the process should end by itself.
        """
        seconds = grace + LATE_SECONDS
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        self._child = subprocess.Popen(  # of its own session: Ctrl-C is for this process
            [sys.executable, "-I", "-S", str(Path(kill_parent.__file__)), str(seconds)],
            stdin=reading,
            start_new_session=True,
            env={},
        )
        os.close(reading)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        self._timer = threading.Timer(seconds - LOG_SECONDS, _end_process)
        self._timer.daemon = True

    def start(self) -> None:
        """Start the countdown; call it at the first SIGTERM or SIGINT."""
        self._timer.start()


def _end_process() -> None:
    _log.error("ended by force: the grace period is over and something still runs", running=list(still_running()))
    os._exit(1)


def still_running() -> Iterator[str]:
    """Yield what other threads do now: a thread's name, and where in the program it is."""
    frames = sys._current_frames()
    for thread in threading.enumerate():
        frame = _place_of(frames.get(thread.ident or 0))
        if frame is not None and thread is not threading.current_thread():
            yield f"{thread.name}: {_module_of(frame)}.{frame.f_code.co_name}:{frame.f_lineno}"


def _place_of(innermost: FrameType | None) -> FrameType | None:
    """Return the innermost frame of this package; else the innermost one of a thread that doesn't just wait."""
    frame = innermost
    while frame is not None and not _module_of(frame).startswith("service."):
        frame = frame.f_back
    if frame is None and innermost is not None and _module_of(innermost) not in WAITING:
        return innermost
    return frame


def _module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))

"""The watchdog: ends the process some seconds after SIGTERM, SIGINT, or SIGHUP, even if threads still run.

Python can't end a thread from outside. Without the watchdog, a thread in a long computation, or in a call to a Redis
server that does not respond, would keep the process alive.
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

LATE_SECONDS = 5.0  # after the grace period, the process ends within this time
LOG_SECONDS = 1.0  # interval from the log entry of the thread to the kill by the child process
WAITING = {"concurrent.futures.thread", "queue", "selectors", "threading"}  # modules in which idle threads wait
_log = structlog.get_logger()


class Watchdog:
    """Ends this process LATE_SECONDS after the grace period.

    A thread logs the threads that still run and ends the process. If no thread can run, a child process kills this
    process (kill_parent.py).
    """

    def __init__(self, grace: float) -> None:
        """Start the child process, and forward signals to it. Call this in the main thread.

        Args:
            grace: Seconds after the signal in which the process should end on its own.
        """
        seconds = grace + LATE_SECONDS
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        self._child = subprocess.Popen(  # in a new session, so that Ctrl-C does not reach it
            [sys.executable, "-I", "-S", str(Path(kill_parent.__file__)), str(seconds)],
            stdin=reading,
            start_new_session=True,
            env={},
        )
        os.close(reading)
        self._pipe, self._previous_pipe = writing, signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        self._timer = threading.Timer(seconds - LOG_SECONDS, _end_process)
        self._timer.daemon = True

    def start(self) -> None:
        """Start the countdown. Call this at the first SIGTERM, SIGINT, or SIGHUP."""
        self._timer.start()

    def close(self) -> None:
        """End the child process instead of starting the countdown. Call this in the main thread."""
        signal.set_wakeup_fd(self._previous_pipe)
        os.close(self._pipe)
        self._child.wait()


def _end_process() -> None:
    _log.error("process ended after the grace period: threads still run", running=list(list_running_threads()))
    os._exit(1)


def list_running_threads() -> Iterator[str]:
    """Yield the name and the current function of each other thread that is not idle."""
    frames = sys._current_frames()
    for thread in threading.enumerate():
        frame = _relevant_frame(frames.get(thread.ident or 0))
        if frame is not None and thread is not threading.current_thread():
            yield f"{thread.name}: {_module_of(frame)}.{frame.f_code.co_name}:{frame.f_lineno}"


def _relevant_frame(innermost: FrameType | None) -> FrameType | None:
    """Return the innermost frame in this package, or else the innermost frame of all; None for an idle thread."""
    frame = innermost
    while frame is not None and not _module_of(frame).startswith("service."):
        frame = frame.f_back
    if frame is None and innermost is not None and _module_of(innermost) not in WAITING:
        return innermost
    return frame


def _module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))

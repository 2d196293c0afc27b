"""Background threads of a process: periodic tasks, threads that end together, and the wait for the index."""

from collections.abc import Callable
from contextlib import ExitStack
from threading import Event, Thread
from typing import Protocol

import structlog
from errata.errors import ErrataError

from service.archive.port import AnalysisIndex

INDEX_POLL_SECONDS = 0.5  # interval between two checks whether the index is complete
_log = structlog.get_logger()


class Stoppable(Protocol):
    """Something that runs in threads of its own."""

    def start(self) -> None:
        """Start the threads."""

    def stop(self) -> None:
        """Stop the threads."""


def start_each(background: ExitStack, *parts: Stoppable) -> None:
    """Start the parts. When `background` is closed, it stops them in reverse order."""
    for part in parts:
        background.callback(part.stop)
        part.start()


def wait_for_index(index: AnalysisIndex, stopped: Event) -> bool:
    """Wait until the index has all archived analyses; return False if the thread must stop earlier."""
    while not index.is_complete:
        if stopped.wait(INDEX_POLL_SECONDS):
            return False
    return True


class PeriodicTask:
    """Runs a function periodically in a thread, and logs its errors."""

    def __init__(self, name: str, function: Callable[[], None], seconds: float) -> None:
        """Prepare the thread.

        Args:
            name: Name for the thread and the log.
            function: The function.
            seconds: Pause between two runs.
        """
        self._name = name
        self._function = function
        self._seconds = seconds
        self._stopped = Event()
        self._woken = Event()

    def start(self) -> None:
        """Start the thread, which runs the function at once and then periodically."""
        Thread(target=self._run, name=self._name, daemon=True).start()

    def wake(self) -> None:
        """End the current pause, or skip the next one."""
        self._woken.set()

    def stop(self) -> None:
        """Stop the thread after the current run."""
        self._stopped.set()
        self._woken.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.run_once()
            self._woken.wait(self._seconds)
            self._woken.clear()

    def run_once(self) -> None:
        """Run the function once in this thread; log an error instead of raising it.

        An error of the service during a stop is not logged, because a file or connection of the function may be closed.
        """
        try:
            self._function()
        except ErrataError as error:
            if not self._stopped.is_set():
                _log.warning("periodic task failed", task=self._name, error=str(error))
        except Exception:
            _log.exception("periodic task failed", task=self._name)

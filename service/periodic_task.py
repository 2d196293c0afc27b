"""A thread that runs a function periodically."""

from collections.abc import Callable
from threading import Event, Thread
from typing import Self

import structlog
from errata.errors import ErrataError

_log = structlog.get_logger()


class PeriodicTask:
    """Runs a function periodically in a thread, and logs its errors. As a context manager, it runs during a block."""

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
        self._thread = Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread, which runs the function at once and then periodically."""
        self._thread.start()

    def wake(self) -> None:
        """End the current pause, or skip the next one."""
        self._woken.set()

    def stop(self) -> None:
        """Stop the thread after the current run."""
        self._stopped.set()
        self._woken.set()

    def join(self) -> None:
        """Wait for the end of the thread, if it was started."""
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.join()

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

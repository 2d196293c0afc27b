"""Share one run of a slow read among concurrent callers."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class SingleFlight(Generic[Result]):
    """Runs a read for one caller at a time; callers that wait meanwhile share the next run.

    A caller never gets the result of a run that began before its call, because it could miss the caller's own writes.

    Args:
        read: The slow read. Its errors are raised for all callers that share the run.
    """

    def __init__(self, read: Callable[[], Result]) -> None:
        self._read = read
        self._turn = threading.Condition()
        self._last_started = self._last_ended = 0  # numbers of runs
        self._result: Result
        self._error: BaseException | None = None

    def __call__(self) -> Result:
        """Return the result of a run that begins after this call."""
        with self._turn:
            number = self._last_started + 1
            while self._last_started != self._last_ended and self._last_ended < number:  # another run is in progress
                self._turn.wait()
            if self._last_ended < number:
                self._last_started = number
                self._turn.release()
                try:
                    self._run()
                finally:
                    self._turn.acquire()
                    self._last_ended = number
                    self._turn.notify_all()
            if self._error is not None:
                raise self._error
            return self._result

    def _run(self) -> None:
        try:
            self._result, self._error = self._read(), None
        except BaseException as error:
            self._error = error

"""Single flight: concurrent callers share one run of a slow read."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class SingleFlight(Generic[Result]):
    """Runs a read for one caller at a time; callers that wait meanwhile share the next run.

    A caller never gets the result of a run that began before its call, which might miss what the caller just wrote.

    Args:
        read: The slow read. All callers that share a run get the error that it raises.
    """

    def __init__(self, read: Callable[[], Result]) -> None:
        self._read = read
        self._turn = threading.Condition()
        self._begun = self._ended = 0  # number of the last run that began or ended
        self._result: Result
        self._error: BaseException | None = None

    def __call__(self) -> Result:
        """Return the result of a run that begins after this call."""
        with self._turn:
            wanted = self._begun + 1
            while self._begun != self._ended and self._ended < wanted:  # a run is under way
                self._turn.wait()
            if self._ended < wanted:
                self._begun = wanted
                self._turn.release()
                try:
                    self._run(wanted)
                finally:
                    self._turn.acquire()
                    self._ended = wanted
                    self._turn.notify_all()
            if self._error is not None:
                raise self._error
            return self._result

    def _run(self, number: int) -> None:
        try:
            self._result, self._error = self._read(), None
        except BaseException as error:
            self._error = error

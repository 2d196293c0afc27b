"""Background threads of a process: threads that end together, and the wait for the index."""

from contextlib import ExitStack
from threading import Event
from typing import Protocol

from service.archive.port import AnalysisIndex

INDEX_POLL_SECONDS = 0.5  # interval between two checks whether the index is complete


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

"""Consoles for text that people read: messages on stderr, results on stdout."""

import sys

from rich.console import Console
from rich.markup import escape

from errata.cli.output import PIPE_WIDTH, one_line


class _Console(Console):
    """A console that reports a closed pipe to the caller, instead of exiting with code 1."""

    def on_broken_pipe(self) -> None:
        """Re-raise the error that rich handles."""
        raise BrokenPipeError


def stderr_console() -> Console:
    """Return the console for messages and progress."""
    return _new_console(stderr=True)


def stdout_console() -> Console:
    """Return the console for results."""
    return _new_console(stderr=False)


def safe(text: str) -> str:
    """Return text on one line, without rich markup and without characters that control a terminal."""
    return escape(one_line(text))


def _new_console(stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    # rich ignores the width of a dumb terminal unless a height is set.
    width, height = (None, None) if stream.isatty() else (PIPE_WIDTH, 25)
    return _Console(stderr=stderr, highlight=False, width=width, height=height)

"""A pool of sandboxed processes: as many files are parsed at once as there are processes; further ones wait."""

import time
from collections.abc import Callable
from queue import Empty, LifoQueue
from typing import BinaryIO, Self

import structlog

from service.errors import InvalidUpload, TooBusy, TruncatedUpload
from service.predictions.sandbox.isolation import missing_isolation
from service.predictions.sandbox.limits import ParserLimits
from service.predictions.sandbox.process import ParserProcess
from service.predictions.sandbox.rows_file import read_rows
from service.predictions.uploads.binary import ParseRequest
from service.predictions.uploads.rows import Rows

PROCESSES = 2
WAIT_STEP = 0.1  # seconds between two looks whether a waiting call was cancelled
DEFAULT_LIMITS = ParserLimits()
_log = structlog.get_logger()


class ParserPool:
    """Parses binary files in sandboxed processes; a `BinaryParser`. Safe to use from several threads."""

    def __init__(self, size: int = PROCESSES, limits: ParserLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._processes = [ParserProcess(limits) for _ in range(size)]
        self._idle: LifoQueue[ParserProcess] = LifoQueue()
        for process in self._processes:
            self._idle.put(process)

    def start(self) -> None:
        """Start the processes ahead of the first file; without it, each starts with its first file."""
        if missing := missing_isolation():
            _log.warning("kernel lacks isolation for parsers of uploads", missing=missing)
        for process in self._processes:
            process.start()

    def stop(self) -> None:
        """End the processes for good: a file that is being parsed, or comes later, ends as unavailable."""
        for process in self._processes:
            process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __call__(self, request: ParseRequest, file: BinaryIO, is_cancelled: Callable[[], bool]) -> Rows:
        """Return the rows of a file.

        Raises:
            InvalidUpload: The file is damaged, crashes its parser, or exceeds a limit.
            TooLarge: The file has more rows or bytes than the request allows.
            TruncatedUpload: Nobody waits for the rows any more.
            TooBusy: No process became free in time.
        """
        process = self._take(is_cancelled)
        try:
            content = process.parse(request, file, is_cancelled)
        finally:
            self._idle.put(process)
        try:
            return read_rows(content)
        except ValueError as error:
            _log.warning("parser of binary uploads returned no rows", error=repr(error)[:500])
            raise InvalidUpload("The file is damaged: its parser returned no rows.", field="chunk") from error

    def _take(self, is_cancelled: Callable[[], bool]) -> ParserProcess:
        deadline = time.monotonic() + self._limits.wait_seconds
        while True:
            try:
                return self._idle.get(timeout=WAIT_STEP)
            except Empty:
                if is_cancelled():
                    raise TruncatedUpload("The upload was cancelled while it waited.", field="chunk") from None
                if time.monotonic() > deadline:
                    raise TooBusy("Too many files are being parsed. Try again later.", retry_after=5) from None

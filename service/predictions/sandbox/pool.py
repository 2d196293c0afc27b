"""A pool of sandboxed processes. Each parses one file at a time; further files wait."""

import sys
from collections.abc import Callable
from typing import BinaryIO, Self

import structlog
from errata.errors import InvalidUpload

from service.isolation import missing_isolation
from service.predictions.sandbox.fair_queue import FairQueue
from service.predictions.sandbox.limits import ParserLimits
from service.predictions.sandbox.process import ParserProcess
from service.predictions.sandbox.rows_file import read_rows
from service.predictions.uploads.binary import ParseRequest, read_binary
from service.predictions.uploads.rows import Rows

IS_SUPPORTED = sys.platform == "linux"  # on other platforms, files are parsed in the calling process
PROCESSES = 2
DEFAULT_LIMITS = ParserLimits()
_log = structlog.get_logger()


class ParserPool:
    """Parses binary files in sandboxed processes, or in the calling process if the pool has size 0. Thread-safe."""

    def __init__(self, size: int = PROCESSES, limits: ParserLimits = DEFAULT_LIMITS) -> None:
        self._processes = [ParserProcess(limits) for _ in range(size if IS_SUPPORTED else 0)]
        self._queue = FairQueue(self._processes, limits.wait_seconds)

    def start(self) -> None:
        """Start all processes now. Without this call, each process starts when it receives its first file."""
        if not IS_SUPPORTED:
            _log.warning("no sandbox for parsers of uploads on this platform", platform=sys.platform)
        elif missing := missing_isolation():
            _log.warning("kernel lacks isolation for parsers of uploads", missing=missing)
        for process in self._processes:
            process.start()

    def stop(self) -> None:
        """End the processes for good. Parsing a current or later file raises Unavailable."""
        for process in self._processes:
            process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __call__(
        self, request: ParseRequest, file: BinaryIO, is_cancelled: Callable[[], bool] = lambda: False, caller: str = ""
    ) -> Rows:
        """Return the rows of a file.

        Args:
            request: The format and its bounds.
            file: The content, with a file descriptor.
            is_cancelled: Returns whether the upload was canceled.
            caller: Name of the caller's token; waiting callers get the processes in turn.

        Raises:
            InvalidUpload: The file is damaged, crashes its parser, or exceeds a limit.
            TooLarge: The file has more rows or bytes than the request allows.
            TruncatedUpload: The upload was canceled.
            TooBusy: No process became free in time.
        """
        if not self._processes:
            return read_binary(request, file)
        with self._queue.acquire(caller, is_cancelled) as process:
            content = process.parse(request, file, is_cancelled)
        try:
            return read_rows(content)
        except ValueError as error:
            _log.warning("parser of binary uploads returned no rows", error=repr(error)[:500])
            raise InvalidUpload(
                "The file is damaged: its parser returned no rows. Write it again, or upload CSV.", field="chunk"
            ) from error

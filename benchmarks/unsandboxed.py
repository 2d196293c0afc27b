"""The local service with parsers that run in its own process: the reference of benchmarks/sandbox.py."""

import asyncio
from collections.abc import Callable
from typing import BinaryIO

from service.bootstrap import local
from service.predictions.uploads.binary import ParseRequest, read_binary
from service.predictions.uploads.rows import Rows
from service.settings import read_settings
from service.telemetry import configure_logging


class InProcessParsers:
    """Parses in the calling thread, with the interface of a pool."""

    def __init__(self, size: int) -> None:
        pass

    def start(self) -> None:
        """Do nothing: there is no process."""

    def stop(self) -> None:
        """Do nothing: there is no process."""

    def __call__(
        self, request: ParseRequest, file: BinaryIO, is_cancelled: Callable[[], bool], caller: str = ""
    ) -> Rows:
        """Return the rows of a file."""
        return read_binary(request, file)


if __name__ == "__main__":
    settings = read_settings()
    configure_logging(settings.log_level, settings.log_format)
    local.ParserPool = InProcessParsers  # type: ignore[assignment, misc]
    asyncio.run(local.run_local_until_signal(settings, lambda _: None))

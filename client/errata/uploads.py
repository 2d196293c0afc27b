"""The content of uploads: checks of its chunks, and errors of reading it."""

import asyncio
import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from errata.errors import ErrataError, InvalidInput


class UploadFile:
    """A file that can be closed while one thread reads it: the thread then closes it, at the end of its read.

    Closing it at once would free its descriptor: the next file that the program opens can get the same one, and the
    thread would read, and thus skip, a part of that file.
    """

    def __init__(self, file: io.FileIO) -> None:
        self.name = file.name
        self._file, self._lock = file, threading.Lock()
        self._is_reading = self._is_closed = False

    def read(self, size: int) -> bytes | None:
        """Return the next bytes, at most `size`; empty at the end. Raise ValueError if the file is closed."""
        with self._lock:
            if self._is_closed:
                raise ValueError("read of closed file")
            self._is_reading = True
        try:
            return self._file.read(size)
        finally:
            with self._lock:
                self._is_reading = False
                if self._is_closed:
                    self._file.close()

    def close(self) -> None:
        """Close the file, or let the thread that reads it do so."""
        with self._lock:
            self._is_closed = True
            if not self._is_reading:
                self._file.close()


def read_chunk(content: BinaryIO, size: int) -> bytes:
    """Return the next chunk of an upload, at most `size` bytes; empty at the end.

    Raises:
        TypeError: The chunk is not bytes.
        RuntimeError: `read` raised StopIteration, which a coroutine cannot raise.
    """
    try:
        chunk: object = content.read(size)
    except StopIteration as error:
        raise RuntimeError("its read() raised StopIteration, expected b'' at the end") from error
    if not isinstance(chunk, bytes):
        raise TypeError(f"its read() returned {type(chunk).__name__}, expected bytes. Open it in binary mode")
    return chunk


@contextmanager
def converted_read_errors(content: BinaryIO) -> Iterator[list[Exception]]:
    """Provide a list for errors of reading. If the call in the block fails because of one, raise InvalidInput.

    gRPC cancels a call whose iterator of requests raises an error, and does not report this error.
    """
    failures: list[Exception] = []
    try:
        yield failures
    except (ErrataError, asyncio.CancelledError) as error:
        if not failures or (isinstance(error, asyncio.CancelledError) and task_is_cancelled()):
            raise
        failure, name = failures[0], getattr(content, "name", None)
        text = str(name) if isinstance(name, str | Path) else "the content of the upload"
        reason = os.strerror(failure.errno) if isinstance(failure, OSError) and failure.errno else failure
        raise InvalidInput(f"Cannot read {text}: {reason}.", field="content") from failure


def task_is_cancelled() -> bool:
    """Return whether the cancellation of the current task was requested."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0

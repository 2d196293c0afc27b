"""Intake: bytes that arrive on the event loop, read as a file by the thread that parses them. Bounded, both ways."""

import asyncio
import threading
from collections import deque

from errata.errors import TruncatedUpload

HIGH_WATER = 4 << 20  # bytes that wait at most


class UploadStream:
    """A one-way pipe: `feed` and `close` on the loop, `read` in a thread, `abort` from anywhere.

    An upload is aborted when its call ends early, such as by its caller's cancellation: a `read` that waits then, and
    each later one, raises TruncatedUpload. A reader that computes for long between two reads looks at `aborted`.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()
        self._room = asyncio.Event()
        self._room.set()
        self._chunks: deque[bytes] = deque()
        self._waiting = 0  # bytes
        self._closed = False
        self._aborted = False

    async def feed(self, chunk: bytes) -> None:
        """Hand over the next bytes; wait while the reader is behind."""
        if not chunk:
            return  # to the reader it would be the end
        with self._changed:
            if self._aborted:
                return
            self._chunks.append(chunk)
            self._waiting += len(chunk)
            if self._waiting > HIGH_WATER:
                self._room.clear()
            self._changed.notify()
        await self._room.wait()

    def close(self) -> None:
        """Say that all bytes have come."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def abort(self) -> None:
        """Say that no more will come though there should; the reader raises TruncatedUpload."""
        with self._changed:
            self._aborted = True
            self._changed.notify()
        self._loop.call_soon_threadsafe(self._room.set)

    @property
    def aborted(self) -> bool:
        """Return whether the upload was aborted, so that a reader can stop; safe from any thread."""
        return self._aborted

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, at most `size`; empty at the end."""
        with self._changed:
            while not self._chunks and not self._closed and not self._aborted:
                self._changed.wait()  # PacedStream ends a feeder that is too slow
            if self._aborted:
                raise TruncatedUpload("expected more of the file, got the end of the stream", field="chunk")
            if not self._chunks:
                return b""
            piece = self._chunks.popleft()
            if 0 <= size < len(piece):
                self._chunks.appendleft(piece[size:])
                piece = piece[:size]
            self._waiting -= len(piece)
            full = not self._room.is_set() and self._waiting <= HIGH_WATER
        if full:
            self._loop.call_soon_threadsafe(self._room.set)
        return piece

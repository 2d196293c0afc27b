"""A bounded pipe from the event loop, which receives an upload, to the thread that parses it."""

import asyncio
import threading
from collections import deque

from errata.errors import TruncatedUpload

MAX_BUFFERED = 4 << 20  # bytes above which `feed` waits for the reader


class UploadStream:
    """A pipe with backpressure. Call `feed` and `close` on the loop, `read` in a thread, and `abort` from anywhere.

    When a call ends early, such as by cancellation, its upload is aborted: the current and all later calls of `read`
    raise TruncatedUpload. A reader that computes for a long time between two reads checks `is_aborted`.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._chunks: deque[bytes] = deque()
        self._buffered = 0  # bytes
        self._is_closed = False
        self._is_aborted = False

    async def feed(self, chunk: bytes) -> None:
        """Append a chunk; wait while more than MAX_BUFFERED bytes are unread."""
        if not chunk:
            return  # `read` would return it, which signals the end of the file
        with self._changed:
            if self._is_aborted:
                return
            self._chunks.append(chunk)
            self._buffered += len(chunk)
            if self._buffered > MAX_BUFFERED:
                self._has_room.clear()
            self._changed.notify()
        await self._has_room.wait()

    def close(self) -> None:
        """Mark the end of the file."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def abort(self) -> None:
        """End the stream before the end of the file; `read` raises TruncatedUpload from now on."""
        with self._changed:
            self._is_aborted = True
            self._changed.notify()
        self._loop.call_soon_threadsafe(self._has_room.set)

    @property
    def is_aborted(self) -> bool:
        """Return whether the upload was aborted. Safe to call from any thread."""
        return self._is_aborted

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, at most `size`, or an empty value at the end of the file.

        Raises:
            TruncatedUpload: The upload was aborted.
        """
        with self._changed:
            while not self._chunks and not self._is_closed and not self._is_aborted:
                self._changed.wait()  # without a timeout, since PacedStream ends slow uploads
            if self._is_aborted:
                raise TruncatedUpload(
                    "The upload ended before the end of the file. Send the whole file again.", field="chunk"
                )
            if not self._chunks:
                return b""
            piece = self._chunks.popleft()
            if 0 <= size < len(piece):
                self._chunks.appendleft(piece[size:])
                piece = piece[:size]
            self._buffered -= len(piece)
            wakes_feeder = not self._has_room.is_set() and self._buffered <= MAX_BUFFERED
        if wakes_feeder:
            self._loop.call_soon_threadsafe(self._has_room.set)
        return piece

"""Intake: bytes that arrive on the event loop, read as a file by the thread that parses them. Bounded, both ways."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from service.errors import TruncatedUpload

HIGH_WATER = 4 << 20  # bytes that wait at most
IDLE_SECONDS = 30.0  # without a message, after which the upload is given up
WHOLE_SECONDS = 600.0  # that an upload may take from its first message to its last

Message = TypeVar("Message")


async def patient(
    messages: AsyncIterator[Message], until: "asyncio.Future[Any] | None" = None
) -> AsyncIterator[Message]:
    """Yield a stream's messages, at most until a future is done.

    Raise TruncatedUpload when the stream falls silent, or trickles for ever.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WHOLE_SECONDS
    ends: list[asyncio.Future[Any]] = [] if until is None else [until]
    while True:
        coming = asyncio.ensure_future(anext(messages, None))
        try:
            wait = min(IDLE_SECONDS, deadline - loop.time())
            done, _ = await asyncio.wait([coming, *ends], timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not coming.done():
                coming.cancel()
        if not done:
            raise TruncatedUpload(
                f"expected the next part of the file within {IDLE_SECONDS:.0f} s and the last within "
                f"{WHOLE_SECONDS:.0f} s, got nothing",
                field="chunk",
            )
        message = await coming if coming in done else None
        if message is None:
            return
        yield message


class Intake:
    """A one-way pipe: `feed` and `close` on the loop, `read` in a thread, `abort` from anywhere."""

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

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, at most `size`; empty at the end."""
        with self._changed:
            while not self._chunks and not self._closed and not self._aborted:
                self._changed.wait()  # `patient` sees to it that the feeder ends
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

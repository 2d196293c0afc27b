"""A stream of limited size whose first bytes can be inspected before it is read."""

import sys

from errata.errors import TooLarge

from service.storage import CHUNK, Readable


class BoundedStream:
    """A stream that raises TooLarge when it has more than a limit of bytes."""

    closed = False  # Arrow reads this attribute of a file

    def __init__(self, content: Readable, limit: int, message: str) -> None:
        """Wrap `content`.

        Args:
            content: The stream.
            limit: Maximum size in bytes.
            message: Message of the TooLarge error.
        """
        self._content = content
        self._message = message
        self._remaining = limit
        self._buffer = b""

    def limit(self, limit: int, message: str) -> None:
        """Allow at most `limit` more bytes to be consumed. A lower existing limit stays in effect."""
        remaining = limit - len(self._buffer)
        if remaining < self._remaining:
            self._remaining, self._message = remaining, message

    def peek(self, size: int) -> bytes:
        """Return the next `size` bytes, or fewer at the end, without consuming them."""
        self._buffer = self.read_at_least(size)
        return self._buffer[:size]

    def read_at_least(self, size: int) -> bytes:
        """Return all received bytes, and receive more until there are at least `size`; fewer at the end."""
        pieces, length = [self._buffer], len(self._buffer)
        self._buffer = b""
        while length < size and (piece := self._read_piece(CHUNK)):
            pieces.append(piece)
            length += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read_line(self, limit: int) -> bytes | None:
        """Return the next line without its line break; None if it is longer than `limit` bytes."""
        size = 1 << 10
        while b"\n" not in self.peek(size) and len(self._buffer) >= size and size < limit:
            size *= 2
        end = self._buffer.find(b"\n")
        line = self._buffer if end < 0 else self._buffer[:end]
        if len(line) > limit:
            return None
        self.read(len(line) + (end >= 0))
        return line

    def read(self, size: int = -1) -> bytes:
        """Return `size` bytes, or fewer at the end; all remaining bytes if `size` is negative."""
        if size < 0:
            return self.read_at_least(sys.maxsize)
        start, self._buffer = self._buffer[:size], self._buffer[size:]
        pieces, length = [start], len(start)
        while length < size and (piece := self._read_piece(size - length)):
            pieces.append(piece)
            length += len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Do nothing: the caller that opened the content closes it. Arrow requires the method."""

    def readable(self) -> bool:
        """Return True. Arrow requires the method."""
        return True

    def _read_piece(self, size: int) -> bytes:
        piece = self._content.read(size)
        self._remaining -= len(piece)
        if self._remaining < 0:
            raise TooLarge(self._message, field="chunk")
        return piece

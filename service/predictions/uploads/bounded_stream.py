"""The bytes of an upload as its readers want them: bounded, with a look at the first ones, and whole on request."""

from errata.errors import TooLarge

from service.storage import CHUNK, Readable


class BoundedStream:
    """A stream that raises TooLarge past `limit` bytes."""

    closed = False  # what Arrow and gzip ask of a file

    def __init__(self, content: Readable, limit: int) -> None:
        self._content = content
        self._limit = limit
        self._left = limit
        self._pending = b""

    def peek(self, size: int) -> bytes:
        """Return the first bytes, `size` of them unless there are fewer; they stay to be read."""
        while len(self._pending) < size and (piece := self._next(CHUNK)):
            self._pending += piece
        return self._pending[:size]

    def read_line(self, limit: int) -> bytes | None:
        """Return the first line without its end; None if it is longer than `limit` bytes."""
        size = 1 << 10
        while b"\n" not in self.peek(size) and len(self._pending) >= size and size < limit:
            size *= 2
        line, newline, _ = self._pending.partition(b"\n")
        if len(line) > limit:
            return None
        self.read(len(line) + len(newline))
        return line

    def read(self, size: int = -1) -> bytes:
        """Return `size` bytes, fewer only at the end; all that are left if it is negative."""
        if 0 <= size <= len(self._pending):
            piece, self._pending = self._pending[:size], self._pending[size:]
            return piece
        pieces, have = [self._pending], len(self._pending)
        self._pending = b""
        while size < 0 or have < size:
            piece = self._next(CHUNK if size < 0 else size - have)
            if not piece:
                break
            pieces.append(piece)
            have += len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Do nothing: whoever opened the content closes it (Arrow asks for it)."""

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def _next(self, size: int) -> bytes:
        piece = self._content.read(size)
        self._left -= len(piece)
        if self._left < 0:
            raise TooLarge(f"expected at most {self._limit} bytes, got more", field="chunk")
        return piece

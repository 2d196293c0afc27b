"""gzip and zstd around a text form, unpacked while it streams and never past a limit."""

import gzip
import io
import zlib
from typing import BinaryIO, cast

import zstandard

from service.errors import InvalidUpload, TooLarge, TruncatedUpload
from service.storage import Readable

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
MAX_WINDOW = 128 << 20  # bytes that a zstd frame may ask for


def is_compressed(head: bytes) -> bool:
    """Say whether a file starts like gzip or zstd."""
    return head.startswith((GZIP, ZSTD))


class Unpacked(io.RawIOBase):
    """The content of a gzip or zstd stream; raises TooLarge past `limit` bytes, TruncatedUpload where it is cut."""

    def __init__(self, content: Readable, head: bytes, limit: int) -> None:
        self._limit = limit
        self._read = 0
        self._zstd = head.startswith(ZSTD)
        self._content: Readable
        if self._zstd:
            decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
            self._content = decompressor.stream_reader(cast("BinaryIO", content), read_across_frames=True)
        else:
            self._content = gzip.GzipFile(fileobj=cast("BinaryIO", content))

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, all that are left if it is negative."""
        wanted = self._limit - self._read + 1 if size < 0 else size
        pieces: list[bytes] = []
        while wanted > 0 and (piece := self._piece(min(wanted, 1 << 20))):
            pieces.append(piece)
            wanted -= len(piece)
            if size >= 0:
                break
        return b"".join(pieces)

    def _piece(self, size: int) -> bytes:
        try:
            piece = self._content.read(size)
        except EOFError as error:
            raise TruncatedUpload("expected a whole gzip file, got one that ends too early", field="chunk") from error
        except (gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
            raise InvalidUpload(f"expected gzip or zstd, got {error!s:.120}", field="chunk") from error
        self._read += len(piece)
        if self._read > self._limit:
            raise TooLarge(f"expected at most {self._limit} bytes unpacked, got more", field="chunk")
        return piece

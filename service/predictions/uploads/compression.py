"""gzip and zstd around a text form, unpacked by Arrow while it streams, a piece at a time."""

import pyarrow as pa
from errata.errors import InvalidUpload, TruncatedUpload

from service.predictions.uploads.bounded_stream import BoundedStream
from service.storage import CHUNK

CODECS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}  # by the first bytes


def detect_codec(head: bytes) -> str | None:
    """Return how a file is compressed, by its first bytes; None if it isn't."""
    return next((codec for magic, codec in CODECS.items() if head.startswith(magic)), None)


class DecompressedStream:
    """The content of a compressed stream; raises TruncatedUpload where it is cut, InvalidUpload where it is damaged."""

    def __init__(self, content: BoundedStream, codec: str) -> None:
        self._codec = codec
        self._stream = pa.CompressedInputStream(pa.PythonFile(content, mode="r"), codec)

    def read(self, size: int = -1) -> bytes:
        """Return some of the next bytes, at most `size`; empty at the end."""
        try:
            return bytes(self._stream.read(size if size > 0 else CHUNK))
        except OSError as error:
            if "Truncated" in str(error):
                raise TruncatedUpload(
                    f"expected a whole {self._codec} file, got one that ends too early", field="chunk"
                ) from error
            raise InvalidUpload(f"expected {self._codec}, got {error!s:.120}", field="chunk") from error

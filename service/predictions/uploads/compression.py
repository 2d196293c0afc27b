"""gzip and zstd streams, decompressed by Arrow piece by piece."""

import pyarrow as pa
from errata.errors import InvalidUpload, TruncatedUpload

from service.predictions.uploads.bounded_stream import BoundedStream
from service.storage import CHUNK

CODECS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}  # codec by the first bytes of a file


def detect_codec(head: bytes) -> str | None:
    """Return the codec of a compressed file by its first bytes; None if the file is not compressed."""
    return next((codec for magic, codec in CODECS.items() if head.startswith(magic)), None)


class DecompressedStream:
    """The content of a compressed stream.

    `read` raises TruncatedUpload if the stream ends early, and InvalidUpload if it is damaged.
    """

    def __init__(self, content: BoundedStream, codec: str) -> None:
        self._codec = codec
        self._stream = pa.CompressedInputStream(pa.PythonFile(content, mode="r"), codec)

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, at most `size`; empty at the end."""
        try:
            return bytes(self._stream.read(size if size > 0 else CHUNK))
        except OSError as error:
            if "Truncated" in str(error):
                raise TruncatedUpload(
                    f"The {self._codec} file ends early. Upload the complete file.", field="chunk"
                ) from error
            raise InvalidUpload(
                f"The {self._codec} file is damaged ({error!s:.120}). Compress the predictions again.", field="chunk"
            ) from error

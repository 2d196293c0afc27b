"""Images in the formats that data sets have, and in those that attackers choose."""

import io
import struct
import zlib
from typing import Any

from PIL import Image


def encode(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    """Return an image as a file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def decode(content: bytes | None) -> Image.Image:
    """Return a JPEG as an image."""
    assert content is not None
    image = Image.open(io.BytesIO(content), formats=["JPEG"])
    image.load()
    return image


def png_of_size(width: int, height: int, rows: bytes = b"") -> bytes:
    """Return a PNG file whose header has this size, with these compressed rows."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")

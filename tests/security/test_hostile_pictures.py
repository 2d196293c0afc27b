"""Hostile images in the sandboxed decoder: bounded memory and time, and no access to files or the network."""

import os
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from unit.predictions.pictures.pictures import decode, encode, png_of_size

from service.predictions.pictures import decoder as limits
from service.predictions.pictures.messages import PictureRequest, UnreadablePicture
from service.predictions.pictures.process import DecoderProcess

THUMBNAIL = PictureRequest(256, 80, is_thumbnail=True)
SIDE = 5792  # pixels; MAX_PIXELS is its square
GOOD = encode(Image.new("RGB", (32, 32), "green"))


@pytest.fixture(scope="module")
def decoder() -> Iterator[DecoderProcess]:
    decoder = DecoderProcess()
    yield decoder
    decoder.stop()


def memory_peak(decoder: DecoderProcess) -> int:
    assert decoder._process is not None
    status = Path(f"/proc/{decoder._process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def bomb_of_text() -> bytes:
    """Return a PNG file whose text unpacks to 1 GiB, by repeating a compressed block of 1 MiB."""
    text = zlib.compressobj(9, wbits=-15)
    block = text.compress(bytes(1 << 20)) + text.flush(zlib.Z_FULL_FLUSH)
    checksum = struct.pack(">HH", (1 << 30) % 65_521, 1)  # Adler-32 of 1 GiB of zeros
    content = b"Comment\0\0" + b"\x78\xda" + block * 1024 + text.flush() + checksum
    chunk = struct.pack(">I", len(content)) + b"zTXt" + content + struct.pack(">I", zlib.crc32(b"zTXt" + content))
    png = png_of_size(4, 4, zlib.compress(bytes(52)))
    return png[:33] + chunk + png[33:]


def tiff_with_strip(width: int, height: int, size: int) -> bytes:
    """Return a TIFF file of one strip that claims a size in bytes."""
    entries = (
        (256, 4, width),
        (257, 4, height),
        (258, 3, 8),
        (259, 3, 5),
        (262, 3, 1),
        (273, 4, 200),
        (278, 4, height),
        (279, 4, size),
    )
    directory = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries
    )
    return b"II*\0\x08\0\0\0" + directory + bytes(4) + b"\x80" * 500


HOSTILE = {
    "header of 4 gigapixels": png_of_size(65_535, 65_535),
    "more pixels than its data": png_of_size(SIDE, SIDE, zlib.compress(bytes(1000))),
    "text bomb": bomb_of_text(),
    "huge TIFF": tiff_with_strip(60_000, 60_000, 1 << 31),
    "TIFF with a huge strip": tiff_with_strip(100, 100, 0xFFFFFFFF),
    "one row of a gigapixel": png_of_size(1 << 30, 1),
    "huge GIF": b"GIF89a" + b"\xff" * 4 + bytes(3) + b"," + bytes(4) + b"\xff" * 4 + b"\0\x08\0;",
    "huge WebP": b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0" + b"\xfe\x3f\0\xfe\x3f\0" + bytes(4),
    "huge BMP": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, 1 << 30, 1 << 30, 1, 24, 0, 0, 0, 0, 0, 0),
    "endless PPM": b"P6 " + b"1" * 1_000_000,
    "plain PPM of one digit": b"P3 5000 5000 255 " + b"1" * 1_000_000,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_image_is_refused_with_little_memory(decoder: DecoderProcess, name: str) -> None:
    with pytest.raises(UnreadablePicture):
        decoder.make(HOSTILE[name], THUMBNAIL)

    decoder.make(GOOD, THUMBNAIL)
    assert memory_peak(decoder) < limits.MAX_ADDRESS_SPACE


@pytest.mark.parametrize(
    ("mode", "format"),
    [("RGBA", "PNG"), ("I;16", "PNG"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("RGBA", "WEBP"), ("RGBA", "BMP")],
)
def test_the_largest_permitted_image_has_a_picture_within_the_memory(
    decoder: DecoderProcess, mode: str, format: str
) -> None:
    content = encode(Image.new(mode, (SIDE, SIDE)), format)

    picture = decoder.make(content, PictureRequest(2048, 92, is_thumbnail=False))

    assert decode(picture).size == (2048, 2048)
    assert memory_peak(decoder) < limits.MAX_ADDRESS_SPACE


def test_a_progressive_jpeg_of_the_largest_size_has_a_picture(decoder: DecoderProcess) -> None:
    content = encode(Image.effect_noise((SIDE // 4, SIDE // 4), 50).resize((SIDE, SIDE)), "JPEG", progressive=True)

    assert decode(decoder.make(content, PictureRequest(2048, 92, is_thumbnail=False))).size == (2048, 2048)


def test_memory_is_returned_after_a_large_image(decoder: DecoderProcess) -> None:
    decoder.make(encode(Image.new("RGB", (SIDE, SIDE))), THUMBNAIL)
    decoder.make(GOOD, THUMBNAIL)

    assert decoder._process is not None
    pages = int(Path(f"/proc/{decoder._process.pid}/statm").read_text().split()[1])
    assert pages * os.sysconf("SC_PAGE_SIZE") < 100 << 20


def test_an_image_that_needs_more_than_the_limit_is_refused_and_the_next_one_is_decoded(
    decoder: DecoderProcess,
) -> None:
    """A tile of a gigabyte is allocated by libtiff."""
    tile = (
        (256, 4, 64),
        (257, 4, 64),
        (258, 3, 8),
        (259, 3, 8),
        (262, 3, 1),
        (322, 4, 32_752),
        (323, 4, 32_752),
        (324, 4, 300),
        (325, 4, 100),
    )
    directory = struct.pack("<H", len(tile)) + b"".join(
        struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tile
    )
    content = (b"II*\0\x08\0\0\0" + directory + bytes(4)).ljust(300, b"\0") + zlib.compress(bytes(1 << 16)).ljust(200)

    with pytest.raises(UnreadablePicture):
        decoder.make(content, THUMBNAIL)
    assert decode(decoder.make(GOOD, THUMBNAIL)).size == (32, 32)
    assert memory_peak(decoder) < limits.MAX_ADDRESS_SPACE


ESCAPES = {
    "reads": "open('/etc/hostname').read()",
    "writes": f"open({str(Path('/tmp/errata-escape'))!r}, 'w')",
    "connects": "socket.socket().connect(('127.0.0.1', int(sys.argv[1])))",
    "starts": "os.fork()",
    "executes": "os.execv('/bin/true', ['true'])",
    "kills": "os.kill(os.getppid(), 0)",
}


@pytest.mark.parametrize("name", ESCAPES)
def test_an_exploited_decoder_has_no_access(name: str) -> None:
    """The script has the isolation of the decoder."""
    script = f"""
import os, socket, sys
from service.predictions.pictures.decoder import _isolate
_isolate()
try:
    {ESCAPES[name]}
except OSError as error:
    os.write(1, b"refused")
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        child = subprocess.run([sys.executable, "-c", script, port], stdout=subprocess.PIPE, timeout=60)

    assert child.stdout == b"refused"
    assert not Path("/tmp/errata-escape").exists()

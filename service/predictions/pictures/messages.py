"""Messages between the service and a process that decodes images, over a stream socket."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

OK, INVALID = 0, 1  # the states of an answer
MAX_ANSWER = 16 << 20  # bytes
REQUEST = struct.Struct(">IHB?")  # size of the image in bytes, then the fields of PictureRequest
ANSWER = struct.Struct(">BI")  # state, size of the content
BLOCK = 1 << 20  # bytes
Read = Callable[[int], bytes]  # returns one byte or more, up to this number; empty at the end


class SlowPicture(Exception):
    """Raised when decoding an image takes too long on this machine."""


class UnreadablePicture(Exception):
    """Raised when an image cannot be decoded within the limits."""


@dataclass(frozen=True)
class PictureRequest:
    """The JPEG to make of an image."""

    size: int  # maximum width and height in pixels
    quality: int  # quality of the JPEG, from 1 to 95
    is_thumbnail: bool  # whether colors have half the resolution


def encode_request(request: PictureRequest, content: bytes) -> bytes:
    """Return the message of a request for an image."""
    return REQUEST.pack(len(content), request.size, request.quality, request.is_thumbnail) + content


def read_request(read: Read) -> tuple[PictureRequest, bytes]:
    """Return the next request and the image; raise EOFError at the end."""
    size, *fields = REQUEST.unpack(_read_all(read, REQUEST.size))
    return PictureRequest(*fields), _read_all(read, size)


def encode_answer(state: int, content: bytes) -> bytes:
    """Return the message of an answer: a JPEG, or the problem as text."""
    return ANSWER.pack(state, len(content)) + content


def read_answer(read: Read) -> tuple[int, bytes]:
    """Return the state and the content of the next answer.

    Raises:
        EOFError: The other process has ended.
        ValueError: The answer is invalid.
    """
    state, size = ANSWER.unpack(_read_all(read, ANSWER.size))
    if state not in (OK, INVALID) or size > MAX_ANSWER:
        raise ValueError("the answer is invalid")
    return state, _read_all(read, size)


def _read_all(read: Read, size: int) -> bytes:
    content = bytearray()
    while len(content) < size:
        if not (block := read(min(size - len(content), BLOCK))):
            raise EOFError
        content += block
    return bytes(content)

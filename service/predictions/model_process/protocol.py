"""Frames on the pipes between a worker and the process that runs its models.

A frame is a prefix (length of the head, length of the body), a JSON head, and a body of raw bytes. Neither side
unpickles anything, and the reader bounds both lengths before it reads.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

PREFIX = struct.Struct(">IQ")  # bytes of the head, bytes of the body
MAX_ANSWER = 1 << 20  # bytes of the head of an answer
MAX_REQUEST = 1 << 30  # bytes of the head of a request, which names up to a million images


class ProtocolError(Exception):
    """Raised when the other side sends a frame that breaks the protocol."""


@dataclass(frozen=True)
class Message:
    """One message."""

    header: Mapping[str, Any]
    body: bytes = b""


def write_message(stream: BinaryIO, message: Message) -> None:
    """Write a frame and flush it."""
    header = json.dumps(message.header).encode()
    stream.write(PREFIX.pack(len(header), len(message.body)))
    stream.write(header)
    stream.write(message.body)
    stream.flush()


def read_message(stream: BinaryIO, max_header: int, max_body: int = 0) -> Message:
    """Read a frame.

    Raises:
        EOFError: The other side closed the pipe.
        ProtocolError: A length is over its bound, or the head is not a JSON object.
    """
    header_size, body_size = PREFIX.unpack(_read(stream, PREFIX.size))
    if header_size > max_header or body_size > max_body:
        raise ProtocolError(
            f"Frame too large: {header_size} and {body_size} bytes. Expected at most {max_header} and {max_body}."
        )
    try:
        header = json.loads(_read(stream, header_size))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"The head of a frame is not JSON: {error!s:.120}") from error
    if not isinstance(header, dict):
        raise ProtocolError(f"Expected a JSON object as the head of a frame, got {type(header).__name__}.")
    return Message(header, _read(stream, body_size))


def _read(stream: BinaryIO, size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError("The other side closed the pipe.")
    return content

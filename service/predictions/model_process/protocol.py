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
class Frame:
    """One message."""

    head: Mapping[str, Any]
    body: bytes = b""


def write_frame(stream: BinaryIO, frame: Frame) -> None:
    """Write a frame and flush it."""
    head = json.dumps(frame.head).encode()
    stream.write(PREFIX.pack(len(head), len(frame.body)))
    stream.write(head)
    stream.write(frame.body)
    stream.flush()


def read_frame(stream: BinaryIO, max_head: int, max_body: int = 0) -> Frame:
    """Read a frame.

    Raises:
        EOFError: The other side closed the pipe.
        ProtocolError: A length is over its bound, or the head is not a JSON object.
    """
    head_size, body_size = PREFIX.unpack(_read(stream, PREFIX.size))
    if head_size > max_head or body_size > max_body:
        raise ProtocolError(
            f"Frame too large: {head_size} and {body_size} bytes. Expected at most {max_head} and {max_body}."
        )
    try:
        head = json.loads(_read(stream, head_size))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"The head of a frame is not JSON: {error!s:.120}") from error
    if not isinstance(head, dict):
        raise ProtocolError(f"Expected a JSON object as the head of a frame, got {type(head).__name__}.")
    return Frame(head, _read(stream, body_size))


def _read(stream: BinaryIO, size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError("The other side closed the pipe.")
    return content

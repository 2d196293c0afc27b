"""Messages on the pipes between a worker and the process that runs its models.

A message has a prefix (the lengths of header and body), a JSON header, and a body of raw bytes. Neither side unpickles
anything, and the reader checks both lengths before it reads.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

PREFIX = struct.Struct(">IQ")  # the prefix: lengths of header and body in bytes
MAX_RESPONSE = 1 << 20  # maximum size of the header of a response in bytes
MAX_REQUEST = 1 << 30  # maximum size of the header of a request, which names up to a million images


class ProtocolError(Exception):
    """Raised when the other side sends an invalid message."""


@dataclass(frozen=True)
class Message:
    """A request or a response."""

    header: Mapping[str, Any]
    body: bytes = b""


def write_message(stream: BinaryIO, message: Message) -> None:
    """Write a message and flush the stream."""
    header = json.dumps(message.header).encode()
    stream.write(PREFIX.pack(len(header), len(message.body)))
    stream.write(header)
    stream.write(message.body)
    stream.flush()


def read_message(stream: BinaryIO, max_header: int, max_body: int = 0) -> Message:
    """Read a message.

    Args:
        stream: A pipe.
        max_header: Maximum length of the header in bytes.
        max_body: Maximum length of the body in bytes.

    Raises:
        EOFError: The other side closed the pipe.
        ProtocolError: A length exceeds its maximum, or the header is not a JSON object.
    """
    header_size, body_size = PREFIX.unpack(_read(stream, PREFIX.size))
    if header_size > max_header or body_size > max_body:
        raise ProtocolError(
            f"Message too large: {header_size} and {body_size} bytes. Expected at most {max_header} and {max_body}."
        )
    try:
        header = json.loads(_read(stream, header_size))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"The header of a message is not valid JSON: {error!s:.120}") from error
    if not isinstance(header, dict):
        raise ProtocolError(f"Expected a JSON object as the header of a message, got {type(header).__name__}.")
    return Message(header, _read(stream, body_size))


def _read(stream: BinaryIO, size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError("The other side closed the pipe.")
    return content

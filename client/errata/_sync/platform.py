"""What differs between the asyncio client and the blocking client: channels, files, and sleeping."""

from collections.abc import Iterator
from pathlib import Path
from time import sleep
from typing import Any, BinaryIO, cast

import grpc

from errata.requests import CHUNK_BYTES
from errata.uploads import UploadFile, read_chunk

__all__ = ["open_channel", "open_file", "sleep", "upload_messages"]


def open_channel(server: str, credentials: grpc.ChannelCredentials | None, options: list[tuple[str, Any]]) -> Any:
    """Return a channel, which connects on the first call."""
    if credentials is None:
        return grpc.insecure_channel(server, options=options)
    return grpc.secure_channel(server, credentials, options=options)


def open_file(path: str | Path) -> BinaryIO:
    """Open a file for reading. A buffer could not be closed while a thread waits for a pipe."""
    return cast(BinaryIO, UploadFile(Path(path).open("rb", buffering=0)))


def upload_messages(message: type[Any], header: Any, content: BinaryIO, failures: list[Exception]) -> Iterator[Any]:
    """Yield the messages of an upload: the header unless it is None, then the content in chunks.

    Append an error of reading to `failures`, and raise it.
    """
    if header is not None:
        yield message(header=header)
    try:
        while chunk := read_chunk(content, CHUNK_BYTES):
            yield message(chunk=chunk)
    except Exception as error:
        failures.append(error)
        raise

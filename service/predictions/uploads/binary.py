"""Binary uploads: what a parser is asked for, and the parsers by the name of their format.

Parsers of binary formats are complex native code, so a service calls `read_binary` in a sandboxed process only
(service/predictions/sandbox).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from service.predictions.uploads import npy, npz, parquet
from service.predictions.uploads.rows import Rows


@dataclass(frozen=True)
class ParseRequest:
    """What a parser needs to know besides the file."""

    format: str  # a key of READERS
    images: int  # of the data set: A
    max_unpacked: int  # bytes
    classes: tuple[int, ...] | None = None  # the data set's own classes; None: all


READERS: Mapping[str, Callable[[BinaryIO, ParseRequest], Rows]] = {
    "npz": lambda file, request: npz.read(file, request.images, request.classes, request.max_unpacked),
    "npy": lambda file, request: npy.read(file, request.images, request.classes),
    "parquet": lambda file, request: parquet.read(file, request.max_unpacked, request.images),
}


class BinaryParser(Protocol):
    """Parses one file: in this process, or in a sandboxed one."""

    def __call__(
        self, request: ParseRequest, file: BinaryIO, is_cancelled: Callable[[], bool], caller: str = ""
    ) -> Rows:
        """Return the rows; raise InvalidUpload or TooLarge.

        Args:
            request: The format and its bounds.
            file: The content, seekable, with a file descriptor.
            is_cancelled: Says whether nobody waits for the rows any more.
            caller: Name of the caller's token.
        """
        ...


def read_binary(
    request: ParseRequest, file: BinaryIO, is_cancelled: Callable[[], bool] = lambda: False, caller: str = ""
) -> Rows:
    """Parse a file in this process."""
    return READERS[request.format](file, request)

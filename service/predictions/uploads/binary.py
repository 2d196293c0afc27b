"""Binary uploads: the request to parse one, and the table of readers by format.

The parsers of binary formats are complex native code. A service calls `read_binary` only in a sandboxed process
(service/predictions/sandbox).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from service.predictions.uploads import npy, npz, parquet
from service.predictions.uploads.rows import Rows


@dataclass(frozen=True)
class ParseRequest:
    """The arguments of a reader besides the file."""

    format: str  # name of a format, a key of READERS
    images: int  # number of images of the data set, A
    num_classes: int  # number of classes of its label space, C
    max_unpacked: int  # bytes
    classes: tuple[int, ...] | None = None  # classes that occur in the data set; None: all

    @property
    def score_shape(self) -> tuple[int, int]:
        """Return the shape of an array of scores, (A, C)."""
        return self.images, self.num_classes


READERS: Mapping[str, Callable[[BinaryIO, ParseRequest], Rows]] = {
    "npz": lambda file, request: npz.read(file, request.score_shape, request.classes, request.max_unpacked),
    "npy": lambda file, request: npy.read(file, request.score_shape, request.classes),
    "parquet": lambda file, request: parquet.read(file, request.max_unpacked, *request.score_shape),
}


def read_binary(request: ParseRequest, file: BinaryIO) -> Rows:
    """Parse a file in this process; raise InvalidUpload or TooLarge."""
    return READERS[request.format](file, request)

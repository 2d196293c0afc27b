"""The output of the readers: blocks of rows with file names, or arrays without them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from errata.errors import TooLarge, Violation
from numpy.typing import NDArray

from service.domain import Classes

MAX_WRONG = 10_000  # unreadable rows after which a reader stops
MAX_VIOLATIONS = 10  # violations that an error lists
MAX_INT64 = np.iinfo(np.int64).max  # larger integers become this value, and not a negative number
SOME_MISSING = "Some rows have no probability, so Errata uses no probabilities."


@dataclass(frozen=True)
class NamedRows:
    """A block of n rows with file names."""

    names: pa.Array  # (n,) binary
    classes: pa.Array  # (n,) strings or integers
    probabilities: pa.Array | None  # (n,) strings or floats
    lines: NDArray[np.int64]  # (n,) numbers of lines of a text file or of rows of a table, from 1
    wrong: tuple[Violation, ...] = ()  # the first ten unreadable rows
    num_wrong: int = 0  # number of all unreadable rows
    are_answers: bool = False  # whether `classes` has free-text answers
    is_numbered: bool = False  # `names` are the numbers of the images from 0, in the row order of the request
    is_certain: bool = True  # whether invalid probabilities are errors; otherwise, all are left out
    assumptions: tuple[str, ...] = ()

    @classmethod
    def without_rows(
        cls, wrong: tuple[Violation, ...], num_wrong: int, assumptions: tuple[str, ...] = ()
    ) -> "NamedRows":
        """Create a block that has only unreadable rows and assumptions."""
        empty, lines = pa.array([], type=pa.binary()), np.zeros(0, dtype=np.int64)
        return cls(empty, empty, None, lines, wrong=wrong, num_wrong=num_wrong, assumptions=assumptions)


@dataclass(frozen=True)
class OrderedRows:
    """All n rows of a file without file names. The row order of the request maps rows to images."""

    top1: Classes | NDArray[np.int64]  # (n,)
    probability: NDArray[np.float32] | None  # (n,)
    top1_restricted: NDArray[np.int64] | None = None  # (n,) best class among the data set's; None without scores
    warnings: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()


Rows = Iterator[NamedRows] | OrderedRows


def check_row_count(rows: int, images: int, unit: str = "row") -> None:
    """Raise TooLarge if there are far more rows than images. A few surplus rows are reported one by one.

    Args:
        rows: The number of rows, or of lines, some of which may be blank.
        images: The number of images of the data set.
        unit: "row", or "line" if lines are counted.
    """
    if rows > images + MAX_WRONG:
        raise TooLarge(
            f"The file has at least {rows:,} {unit}s, but the data set has {images:,} images. Keep one {unit} per "
            "image, or choose another data set with --dataset.",
            field="row",
        )

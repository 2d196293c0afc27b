"""What a reader of one format hands to validation: blocks of rows with names, or whole arrays without."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from errata.errors import TooLarge, Violation
from numpy.typing import NDArray

from service.domain import Classes

MAX_WRONG = 10_000  # rows that can't be read, after which a reader stops: the file is something else


@dataclass(frozen=True)
class NamedRows:
    """A block of n rows that say which image they are about."""

    names: pa.Array  # n, binary
    classes: pa.Array  # n, strings or integers
    probabilities: pa.Array | None  # n, strings or floats
    lines: NDArray[np.int64]  # (n,) 1-based lines of the file, or rows where it has no lines
    wrong: tuple[Violation, ...] = ()  # what the reader could make no row of, its first ten
    num_wrong: int = 0  # how many there were


@dataclass(frozen=True)
class OrderedRows:
    """All rows of a file that has no names: which image a row is about, `row_order` says."""

    top1: Classes | NDArray[np.int64]  # (n,)
    probability: NDArray[np.float32] | None  # (n,)
    top1_restricted: NDArray[np.int64] | None = (
        None  # (n,) the best of the data set's own classes, where there are scores
    )
    warnings: tuple[str, ...] = ()


Rows = Iterator[NamedRows] | OrderedRows


def check_row_count(rows: int, images: int) -> None:
    """Raise TooLarge for more rows than a data set has images, with room for errors that are reported."""
    if rows > images + MAX_WRONG:
        raise TooLarge(f"expected at most a row for each of {images} images, got at least {rows}", field="row")

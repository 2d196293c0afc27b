"""The hostile uploads, which the service must refuse within its limits."""

import gzip
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from fuzz.bombs import BOMBS
from security.array_cases import hidden_entries, nested_npy_header, overstated_array, overstated_npy
from security.parquet_cases import (
    deep_and_wide_schema,
    delta_column,
    endless_rows,
    many_row_groups,
    nested_groups,
    wide_schema,
)
from security.text_cases import distinct_classes, repeated_images, short_json_rows

MOST_TEXT = 26_000_000  # bytes of text, just below the limit for imagenet-real


@dataclass(frozen=True)
class Case:
    """A hostile upload."""

    name: str
    write: Callable[[BinaryIO], None]
    packed: bool = True  # sent as gzip
    heavy: bool = False  # part of `make fuzz` alone: more than 10 s, or hundreds of megabytes of disk


def bomb(file: BinaryIO, name: str) -> None:
    """Write one of the bombs that the fuzz tests give to the parser alone."""
    file.write(BOMBS[name]())


CASES = (
    Case("Parquet, 20,000 nested groups", partial(nested_groups, depth=20_000)),
    Case("Parquet, 20,000 nested groups, plain", partial(nested_groups, depth=20_000), packed=False),
    Case("Parquet, 100,000 nested groups", partial(nested_groups, depth=100_000)),
    Case("Parquet, 300,000 columns", partial(wide_schema, columns=300_000)),
    Case("Parquet, 20,000 columns below 2,000 groups", partial(deep_and_wide_schema, depth=2_000, columns=20_000)),
    Case("Parquet, 50 row groups of 2³¹ rows", partial(endless_rows, row_groups=50, rows=(1 << 31) - 1), packed=False),
    Case("Parquet, 85,000 row groups of 10 chunks", partial(many_row_groups, row_groups=85_000, chunks=10)),
    Case(
        "Parquet, 800,000 row groups of 10 chunks",
        partial(many_row_groups, row_groups=800_000, chunks=10),
        packed=False,
        heavy=True,
    ),
    Case("Parquet, 100 row groups of 8,000 chunks", partial(many_row_groups, row_groups=100, chunks=8_000)),
    Case(
        "Parquet, 50,000 delta names of 20 kB",
        partial(delta_column, column="file_name", size=20_000, rows=50_000),
        packed=False,
    ),
    Case(
        "Parquet, 8,192 delta classes of 200 kB",
        partial(delta_column, column="top1", size=200_000, rows=8_192),
        packed=False,
    ),
    Case("npz, 500,000 hidden entries", partial(hidden_entries, entries=500_000)),
    Case("npz, 5,000,000 hidden entries", partial(hidden_entries, entries=5_000_000), packed=False, heavy=True),
    Case("npz, 2⁴⁰ stated rows", partial(overstated_array, rows=1 << 40, size=(1 << 32) - 2), packed=False),
    Case("npz, 50,000 stated rows without data", partial(overstated_array, rows=50_000, size=400_128), packed=False),
    Case("npz, 192 MiB of bzip2", partial(bomb, name="bzip2 in npz"), packed=False),
    Case("Parquet, a page of 192 MiB stated as 100 B", partial(bomb, name="parquet, whose index lies"), packed=False),
    Case("Parquet, one list of 25 kB in 8,192 rows", partial(bomb, name="parquet, lists"), packed=False),
    Case("npy, 2⁶² stated rows", partial(overstated_npy, rows=1 << 62), packed=False),
    Case("npy, shape nested 4,000 times", partial(nested_npy_header, depth=4_000), packed=False),
    Case("JSONL, 26 MB of short rows", partial(short_json_rows, size=MOST_TEXT)),
    Case("CSV, 26 MB of distinct classes", partial(distinct_classes, size=MOST_TEXT)),
    Case("CSV, 26 MB about one image", partial(repeated_images, size=MOST_TEXT)),
)


@contextmanager
def written(case: Case) -> Iterator[Path]:
    """Yield the file of a case as sent. It is deleted when the block ends."""
    with TemporaryDirectory(prefix="errata-hostile-") as folder:
        plain = Path(folder) / "plain"
        with plain.open("wb") as file:
            case.write(file)
        if not case.packed:
            yield plain
            return
        packed = Path(folder) / "packed.gz"
        with plain.open("rb") as content, gzip.GzipFile(packed, "wb", compresslevel=6, mtime=0) as target:
            shutil.copyfileobj(content, target, 1 << 20)
        plain.unlink()
        yield packed

"""A data set of twelve images, and writers of predictions files for it."""

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from errata.errors import ErrataError
from pyarrow import parquet

from service.domain import RowOrder
from service.predictions.uploads import Layout, Upload, parse_upload
from service.taxonomy.imagenet_1k import imagenet_1k

MAX_BYTES = 1 << 20

# (index, WordNet id, a name that no other class has), from the list of ILSVRC 2012's classes
CLASSES = (
    (0, "n01440764", "tench"),
    (1, "n01443537", "goldfish"),
    (207, "n02099601", "golden retriever"),
    (281, "n02123045", "tabby"),
    (285, "n02124075", "Egyptian cat"),
    (292, "n02129604", "tiger"),
    (340, "n02391049", "zebra"),
    (409, "n02708093", "analog clock"),
    (817, "n04285008", "sports car"),
    (948, "n07742313", "Granny Smith"),
    (951, "n07749582", "lemon"),
    (999, "n15075141", "toilet tissue"),
)


@dataclass(frozen=True)
class Small:
    """Twelve images, of which ten are judged. Their path order differs from their name order."""

    names: tuple[str, ...] = tuple(f"ILSVRC2012_val_{number:08}.JPEG" for number in range(1, 13))
    target_rows: tuple[int, ...] = (11, 3, 3, 0, 7, 7, 5, 1, 0, 10, 2, 4)  # of CLASSES
    unjudged: tuple[int, ...] = (2, 7)

    @property
    def targets(self) -> tuple[int, ...]:
        return tuple(CLASSES[row][0] for row in self.target_rows)

    @property
    def paths(self) -> list[str]:
        """`wnid/file` of each image."""
        return [f"{CLASSES[row][1]}/{name}" for row, name in zip(self.target_rows, self.names, strict=True)]

    @property
    def judged(self) -> list[int]:
        return [image for image in range(len(self.names)) if image not in self.unjudged]

    def order(self, order: RowOrder) -> list[int]:
        """Return the image of each row, with a simple sort."""
        keys = list(self.names) if order is RowOrder.FILE_NAME else self.paths
        return sorted(range(len(keys)), key=lambda image: keys[image])

    @property
    def layout(self) -> Layout:
        return Layout(
            dataset="small",
            names=pa.array([name.encode() for name in self.names], type=pa.binary()),
            positions=lambda order: np.array(self.order(order), dtype=np.intp),
            label_space=imagenet_1k(),
        )

    def parse(self, content: bytes, order: RowOrder = RowOrder.UNSPECIFIED, max_bytes: int = MAX_BYTES) -> Upload:
        return parse_upload(io.BytesIO(content), self.layout, order, max_bytes)

    def top1(self, content: bytes, order: RowOrder = RowOrder.UNSPECIFIED) -> list[int]:
        return [int(index) for index in self.parse(content, order).predictions.top1]

    def rejection(self, content: bytes, max_bytes: int = MAX_BYTES) -> ErrataError:
        """Return the error of a rejected file."""
        with pytest.raises(ErrataError) as caught:
            self.parse(content, max_bytes=max_bytes)
        return caught.value

    def rows(self, classes: Sequence[object]) -> list[tuple[str, object]]:
        """Return one row per image, in the order of the data set."""
        return list(zip(self.names, classes, strict=True))


class Write:
    """Writers of the formats with the standard library, numpy, and pyarrow, independent of the service."""

    @staticmethod
    def lines(*lines: str) -> bytes:
        return "".join(f"{line}\n" for line in lines).encode()

    @staticmethod
    def csv(rows: Sequence[Sequence[object]], header: Sequence[str] = ("file_name", "predicted_class")) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
        return text.getvalue().encode()

    @staticmethod
    def jsonl(rows: Sequence[Sequence[object]], keys: Sequence[str] = ("file_name", "predicted_class")) -> bytes:
        return Write.lines(*(json.dumps(dict(zip(keys, row, strict=True))) for row in rows))

    @staticmethod
    def parquet(columns: dict[str, object], **options: Any) -> bytes:
        file = io.BytesIO()
        parquet.write_table(pa.table(columns), file, **options)
        return file.getvalue()

    @staticmethod
    def npy(array: object, **options: Any) -> bytes:
        file = io.BytesIO()
        np.save(file, np.asarray(array), **options)
        return file.getvalue()

    @staticmethod
    def npz(**arrays: Any) -> bytes:
        file = io.BytesIO()
        np.savez_compressed(file, **arrays)
        return file.getvalue()

    @staticmethod
    def npy_header(text: str) -> bytes:
        """Return the start of an npy file with any header text."""
        header = text.encode("latin-1") + b"\n"
        return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


class ExpectedError:
    """Checks of the error of a rejected upload."""

    @staticmethod
    def lines(error: ErrataError) -> list[int | None]:
        return [violation.line for violation in error.violations]

    @staticmethod
    def count(error: ErrataError, total: int) -> bool:
        """Return whether the message has the total, or the rest after the first or the first ten."""
        return re.search(rf"\b({total}|{total - 1}|{total - 10})\b", error.message) is not None


@pytest.fixture(scope="session")
def small() -> Small:
    return Small()


@pytest.fixture(scope="session")
def write() -> type[Write]:
    return Write


@pytest.fixture(scope="session")
def expected_error() -> type[ExpectedError]:
    return ExpectedError


@pytest.fixture(scope="session")
def classes() -> tuple[tuple[int, str, str], ...]:
    """Index, WordNet id and name of twelve classes."""
    return CLASSES

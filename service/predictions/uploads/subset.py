"""Subset files: the names of the images that an upload covers on purpose, one per line."""

import hashlib

import numpy as np
import pyarrow as pa
from errata.errors import InvalidRow, InvalidUpload, Violation

from service.domain import Mask
from service.predictions.uploads.descriptions import describe_unknown_name
from service.predictions.uploads.image_names import NameIndex
from service.predictions.uploads.rows import MAX_VIOLATIONS, MAX_WRONG
from service.predictions.uploads.validation import index_in

FIELD = "subset"


def parse_subset(text: str, names: pa.Array, dataset: str) -> Mask:
    """Return the images of a subset file, (A,).

    Args:
        text: Content of the file. Empty lines and repeated names have no effect.
        names: (A,) names of the images of the data set.
        dataset: Name of the data set.

    Raises:
        InvalidUpload: The file has no names, or far more than the data set has images.
        InvalidRow: The data set does not have an image with one of the names; `violations` has the lines.
    """
    lines = [line.strip() for line in text.removeprefix("\ufeff").split("\n")]
    numbers = np.array([number for number, line in enumerate(lines, 1) if line], dtype=np.int64)
    if not len(numbers):
        raise InvalidUpload("The subset file has no names. Write one image name per line.", field=FIELD)
    if len(numbers) > len(names) + MAX_WRONG:
        raise InvalidUpload(
            f"The subset file has {len(numbers):,} names, but the data set has {len(names):,} images. Write each name "
            "once.",
            field=FIELD,
        )
    wanted = pa.array([line.encode(errors="replace") for line in lines if line], type=pa.binary())
    images = index_in(wanted, names)
    unknown = np.flatnonzero(images < 0)
    if len(unknown):
        images[unknown] = NameIndex(names).find(wanted.take(pa.array(unknown)))
        unknown = np.flatnonzero(images < 0)
    if len(unknown):
        violations = [
            Violation(FIELD, describe_unknown_name(wanted[int(row)].as_py(), dataset), int(numbers[row]))
            for row in unknown[:MAX_VIOLATIONS]
        ]
        more = f" (and {len(unknown) - 1:,} more unknown names)" if len(unknown) > 1 else ""
        first = violations[0]
        raise InvalidRow(f"Line {first.line} of the subset file: {first.description}{more}", violations=violations)
    subset = np.zeros(len(names), dtype=bool)
    subset[images] = True
    return subset


def digest_subset(subset: Mask, names: pa.Array) -> str:
    """Return the SHA-256 of the names of the images of a subset, (A,), in the order of the data set."""
    selected = names.filter(pa.array(subset))
    return hashlib.sha256(b"\n".join(selected.to_pylist())).hexdigest()

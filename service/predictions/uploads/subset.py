"""Subset files: the names, one per line, of the images that an upload intentionally covers."""

import hashlib

import numpy as np
import pyarrow as pa
from errata.errors import InvalidRow, InvalidUpload, Violation
from errata.messages import pluralize

from service.domain import Mask
from service.image_names import AMBIGUOUS, MAX_CANDIDATES, NameIndex
from service.predictions.uploads.descriptions import describe_ambiguous_name, describe_unknown_name
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
        InvalidUpload: The file has no names, or has far more names than the data set has images.
        InvalidRow: A name matches no image of the data set, or several images; `violations` has the lines.
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
        index = NameIndex(names)
        images[unknown] = index.find(wanted.take(pa.array(unknown)))
        wrong = np.flatnonzero(images < 0)
        if len(wrong):
            violations = []
            for row in wrong[:MAX_VIOLATIONS].tolist():
                name = wanted[row].as_py()
                candidates = index.candidates(name, MAX_CANDIDATES)
                description = describe_unknown_name(name, dataset, candidates)
                if images[row] == AMBIGUOUS:
                    description = describe_ambiguous_name(name, candidates)
                violations.append(Violation(FIELD, description, int(numbers[row])))
            raise _wrong_names(violations, len(wrong))
    subset = np.zeros(len(names), dtype=bool)
    subset[images] = True
    return subset


def _wrong_names(violations: list[Violation], count: int) -> InvalidRow:
    first = violations[0]
    more = f" (and {pluralize(count - 1, 'more wrong name')})" if count > 1 else ""
    return InvalidRow(f"Line {first.line} of the subset file: {first.description}{more}", violations=violations)


def digest_subset(subset: Mask, names: pa.Array) -> str:
    """Return the SHA-256 of the names of the images of a subset, (A,), in the order of the data set."""
    selected = names.filter(pa.array(subset))
    return hashlib.sha256(b"\n".join(selected.to_pylist())).hexdigest()

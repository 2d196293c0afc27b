"""Read the attributes of images: CSV `file_name,attribute,value`, or the JSON lines of ImageNet-X.

The annotation of ImageNet-X (Idrissi et al., "ImageNet-X: Understanding Model Mistakes with Factor of Variation
Annotations", 2022) has a number, 0 or 1, for each of 16 factors of an image. The factors with 1 become values of the
attribute `atypical`. The package of ImageNet-X lists prototypical images in a separate file. They get no attribute.
"""

import codecs
import csv
import hashlib
import io
from array import array
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from errata.errors import InvalidEvidence
from errata.json_input import parse_json

from service.evidence.input_files import MAX_BYTES, MAX_NAME, Problems, read_content, text_problem

MAX_ROWS = 2_000_000  # pairs of an image and a value
MAX_IMAGES = 1_000_000
MAX_ATTRIBUTES = 100
MAX_VALUES = 1000  # of all attributes
MAX_TEXT = 100  # characters of an attribute or a value
MAX_LINE = 64 << 10  # bytes
COLUMNS = ("file_name", "attribute", "value")
FACTORS = (
    "background", "brighter", "color", "darker", "larger", "multiple_objects", "object_blocking", "partial_view",
    "pattern", "person_blocking", "pose", "shape", "smaller", "style", "subcategory", "texture",
)  # fmt: skip
FACTOR_ATTRIBUTE = "atypical"
PROTOTYPES = "prototypical_paths.csv"  # beside the annotation of ImageNet-X


@dataclass
class AttributeTable:
    """Attributes by image, as pairs of indices. Texts are stored once."""

    digest: str = ""
    names: list[str] = field(default_factory=list)  # images
    places: list[tuple[str, int]] = field(default_factory=list)  # file and line of the first row of each image
    attributes: list[str] = field(default_factory=list)
    values: list[tuple[int, str]] = field(default_factory=list)  # attribute and text of each value
    value_images: "array[int]" = field(default_factory=lambda: array("i"))  # (M,) image
    value_numbers: "array[int]" = field(default_factory=lambda: array("i"))  # (M,) index of `values`
    annotated_images: "array[int]" = field(default_factory=lambda: array("i"))  # images with an attribute
    annotated_attributes: "array[int]" = field(default_factory=lambda: array("i"))


def read_attributes(paths: Sequence[Path]) -> AttributeTable:
    """Read the files of one data set.

    Raises:
        InvalidEvidence: A file cannot be read, exceeds a limit, or has invalid rows; `violations` has the lines.
    """
    builder, digests = _Builder(), []
    for path in paths:
        content = read_content(path, "file", MAX_BYTES)
        digests.append(hashlib.sha256(content).hexdigest())
        builder.start_file(path.name)
        lines = _lines(content, path.name)
        if content[:MAX_LINE].removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
            prototypes = _prototypes(path)
            if prototypes:  # prototypes change the slices, so the digest includes them
                digests.append(hashlib.sha256("\n".join(sorted(prototypes)).encode()).hexdigest())
            _add_factors(builder, lines, prototypes)
        else:
            _add_rows(builder, lines)
        builder.finish_file()
    builder.table.digest = digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
    return builder.table


class _Builder:
    """Adds rows to a table, and collects the problems of a file."""

    def __init__(self) -> None:
        self.table = AttributeTable()
        self.start_file("")
        self._images: dict[str, int] = {}
        self._attributes: dict[str, int] = {}
        self._values: dict[tuple[int, str], int] = {}
        self._lines = array("i")  # (M,) line of each value of an image

    def start_file(self, source: str) -> None:
        """Start to add the rows of a file."""
        self.source = source
        self.problems = Problems(source)

    def add(self, name: str, attribute: str, value: str, line: int) -> None:
        """Add a value of an image, or the problem of its row."""
        for column, text, limit in zip(COLUMNS, (name, attribute, value), (MAX_NAME, MAX_TEXT, MAX_TEXT), strict=True):
            if problem := text_problem(column, text, limit):
                return self.problems.add(column, problem, line)
        if "=" in attribute:
            return self.problems.add(
                "attribute", f"'=' in the attribute {attribute!r:.60}; use another character", line
            )
        self.add_value(self.add_image(name, attribute, line), attribute, value, line)
        return None

    def add_value(self, image: int, attribute: str, value: str, line: int) -> None:
        """Add a value of an image that `add_image` has marked as annotated with the attribute."""
        number = self._values.setdefault((self._attributes[attribute], value), len(self._values))
        if number == len(self.table.values):
            if number >= MAX_VALUES:
                raise self._limit(f"more than {MAX_VALUES:,} distinct values. Group numbers into ranges", line)
            self.table.values.append((self._attributes[attribute], value))
        if len(self._lines) >= MAX_ROWS:
            raise self._limit(f"more than {MAX_ROWS:,} rows. Remove attributes", line)
        self._lines.append(line)
        self.table.value_images.append(image)
        self.table.value_numbers.append(number)

    def add_image(self, name: str, attribute: str, line: int) -> int:
        """Return the index of an image, and mark it as annotated with an attribute."""
        image = self._images.setdefault(name, len(self._images))
        if image == len(self.table.names):
            if image >= MAX_IMAGES:
                raise self._limit(f"more than {MAX_IMAGES:,} images. Remove the images above this limit", line)
            self.table.names.append(name)
            self.table.places.append((self.source, line))
        number = self._attributes.setdefault(attribute, len(self._attributes))
        if number == len(self.table.attributes):
            if number >= MAX_ATTRIBUTES:
                raise self._limit(f"more than {MAX_ATTRIBUTES} attributes. Remove some of them", line)
            self.table.attributes.append(attribute)
        self.table.annotated_images.append(image)
        self.table.annotated_attributes.append(number)
        return image

    def finish_file(self) -> None:
        """Check the rows of a file.

        Raises:
            InvalidEvidence: There are problems or duplicate rows, or there are no images.
        """
        for row in self._duplicates():
            self.problems.add("file_name", partial(self._describe_duplicate, row), self._lines[row])
        self.problems.check()
        if not self.table.names:
            raise InvalidEvidence(f"{self.source} has no rows. Write one row per image and attribute.", field="file")

    def _duplicates(self) -> list[int]:
        """Return the rows that repeat an earlier row, ascending."""
        images = np.asarray(self.table.value_images, dtype=np.int64)
        keys = images * MAX_VALUES + np.asarray(self.table.value_numbers, dtype=np.int64)
        order = np.argsort(keys, kind="stable")
        repeated = order[1:][np.diff(keys[order]) == 0]
        return [*map(int, np.sort(repeated))]

    def _describe_duplicate(self, row: int) -> str:
        name = self.table.names[self.table.value_images[row]]
        value = self.table.values[self.table.value_numbers[row]][1]
        return f"duplicate row for the image {name!r:.60} and the value {value!r:.40}; remove it"

    def _limit(self, problem: str, line: int) -> InvalidEvidence:
        return InvalidEvidence(f"{self.source}, line {line}: {problem}.", field="file", line=line)


def _lines(content: bytes, source: str) -> Iterator[tuple[int, str]]:
    """Yield the nonempty lines of a file, with their line numbers.

    Raises:
        InvalidEvidence: A line is too long or not UTF-8.
    """
    file = io.BytesIO(content.removeprefix(codecs.BOM_UTF8))
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise InvalidEvidence(
                f"{source}, line {number}: more than {MAX_LINE >> 10} KiB. Write one row per line.", line=number
            )
        try:
            text = line.decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InvalidEvidence(
                f"{source}, line {number}: not UTF-8. Write the file as UTF-8.", line=number
            ) from error
        if text.strip():
            yield number, text


def _add_rows(builder: _Builder, lines: Iterator[tuple[int, str]]) -> None:
    """Add the rows of a CSV file. A value must not contain a line break, so a row is one line."""
    header: list[str] = []
    for number, line in lines:
        try:
            row = [cell.strip() for cell in next(csv.reader([line], strict=True))]
        except csv.Error as error:
            builder.problems.add("line", f"not valid CSV: {error}; correct the quotation marks", number)
            continue
        if not header:
            header = row
            if any(header.count(name) != 1 for name in COLUMNS):
                raise InvalidEvidence(
                    f"{builder.source}, line {number}: invalid header {line!r:.60}. Use {','.join(COLUMNS)}.",
                    line=number,
                )
            columns = [header.index(name) for name in COLUMNS]
        elif len(row) != len(header):
            builder.problems.add("line", f"{len(row)} columns; write {len(header)} as in the header", number)
        else:
            name, attribute, value = (row[column] for column in columns)
            builder.add(name, attribute, value, number)


def _add_factors(builder: _Builder, lines: Iterator[tuple[int, str]], prototypes: frozenset[str]) -> None:
    """Add the images of an annotation of ImageNet-X, except for prototypical images."""
    names: set[str] = set()
    for number, line in lines:
        try:
            record = parse_json(line)
        except ValueError as error:
            builder.problems.add("line", f"not valid JSON: {error!s:.80}; write one object per line", number)
            continue
        if problem := _factor_problem(record, names):
            builder.problems.add("line", problem, number)
            continue
        name = record["file_name"]
        names.add(name)
        if name not in prototypes:
            image = builder.add_image(name, FACTOR_ATTRIBUTE, number)
            for factor in FACTORS:
                if record[factor]:
                    builder.add_value(image, FACTOR_ATTRIBUTE, factor, number)


def _factor_problem(record: Any, names: Set[str]) -> str:
    """Return the problem of a line of ImageNet-X; empty if the line is valid."""
    if not isinstance(record, dict) or not isinstance(record.get("file_name"), str):
        return "no object with the text 'file_name'; use the annotation of ImageNet-X"
    name = record["file_name"]
    if problem := text_problem("file_name", name, MAX_NAME):
        return problem
    if name in names:
        return f"duplicate image {name!r:.60}; write one line per image"
    wrong = [factor for factor in FACTORS if type(record.get(factor)) is not int or record[factor] not in (0, 1)]
    return f"the factor {wrong[0]!r} is not 0 or 1; use the annotation of ImageNet-X" if wrong else ""


def _prototypes(path: Path) -> frozenset[str]:
    """Return the prototypical images that the package of ImageNet-X lists beside its annotation."""
    file = path.with_name(PROTOTYPES)
    if not file.is_file():
        return frozenset()
    return frozenset(line.strip() for _, line in _lines(read_content(file, "file", MAX_BYTES), file.name))

"""The attributes of each data set, from files that an operator configures, and their slices of evaluated images."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import structlog
from errata.errors import InvalidEvidence, NotFound, Violation

from service.domain import Attributes, Slice
from service.evidence.attribute_files import AttributeTable, read_attributes
from service.evidence.bundle import Bundle
from service.evidence.input_files import MAX_VIOLATIONS
from service.unicode_form import normalize_unicode

MAX_RESOLVED = 4  # bundles whose attributes stay in memory
_log = structlog.get_logger()


class AttributeRepository:
    """Reads the files of each data set once, and maps the images in them to the images of a bundle. Thread-safe."""

    def __init__(self, configured: Mapping[str, Sequence[Path]]) -> None:
        """Create a repository.

        Args:
            configured: Files of attributes by data set.
        """
        self._configured = configured
        self._lock = threading.Lock()
        self._tables: dict[str, AttributeTable] = {}
        self._resolved: dict[str, Attributes | InvalidEvidence] = {}  # by digest of the bundle

    def check(self) -> None:
        """Read all files; raise InvalidEvidence if one is invalid."""
        for dataset in self._configured:
            self._table(dataset)

    def find(self, bundle: Bundle) -> Attributes | None:
        """Return the attributes of the evaluated images of a bundle; None if its data set has no attributes.

        Raises:
            InvalidEvidence: A file is invalid, or names images that the data set does not have.
        """
        if bundle.dataset not in self._configured:
            return None
        table = self._table(bundle.dataset)
        with self._lock:
            result = self._resolved.pop(bundle.digest, None) or _try_to_resolve(table, bundle)
            self._resolved[bundle.digest] = result
            while len(self._resolved) > MAX_RESOLVED:
                del self._resolved[next(iter(self._resolved))]
        if isinstance(result, InvalidEvidence):
            raise InvalidEvidence(result.message, violations=result.violations)
        return result

    def get(self, bundle: Bundle) -> Attributes:
        """Return the attributes of the evaluated images of a bundle; raise NotFound if its data set has none."""
        attributes = self.find(bundle)
        if attributes is None:
            raise NotFound(
                f"Data set {bundle.dataset!r:.80} has no attributes. Name a file of attributes in ERRATA_ATTRIBUTES.",
                field="name",
            )
        return attributes

    def _table(self, dataset: str) -> AttributeTable:
        with self._lock:
            if dataset not in self._tables:
                self._tables[dataset] = read_attributes(self._configured[dataset])
            return self._tables[dataset]


def _try_to_resolve(table: AttributeTable, bundle: Bundle) -> Attributes | InvalidEvidence:
    """Return the attributes or the error. The caller can cache an error, because each file is read only once."""
    try:
        return resolve(table, bundle)
    except InvalidEvidence as error:
        _log.error("attributes not available", dataset=bundle.dataset, error=str(error))
        return error


def resolve(table: AttributeTable, bundle: Bundle) -> Attributes:
    """Return attributes as arrays over the evaluated images of a bundle; raise InvalidEvidence for unknown images."""
    matches = map(bundle.find_row, table.names)
    row_of_image = np.array([-1 if row is None else row for row in matches], dtype=np.int32)
    _check_names(table, bundle, np.flatnonzero(row_of_image < 0).tolist())
    order = sorted(range(len(table.values)), key=lambda number: _sort_key(table, number))
    position = np.empty(len(order), dtype=np.int32)
    position[order] = np.arange(len(order), dtype=np.int32)
    rows = row_of_image[np.asarray(table.value_images, dtype=np.int64)]
    numbers = position[np.asarray(table.value_numbers, dtype=np.int64)]
    numbers, rows = numbers[rows >= 0], rows[rows >= 0]
    sorted_pairs = np.lexsort((rows, numbers))
    annotated = np.zeros((len(table.attributes), len(bundle.rows)), dtype=bool)
    annotated_rows = row_of_image[np.asarray(table.annotated_images, dtype=np.int64)]
    annotated_attributes = np.asarray(table.annotated_attributes, dtype=np.int64)
    annotated[annotated_attributes[annotated_rows >= 0], annotated_rows[annotated_rows >= 0]] = True
    return Attributes(
        table.digest,
        tuple(Slice(*_sort_key(table, number)) for number in order),
        numbers[sorted_pairs],
        rows[sorted_pairs],
        annotated,
        np.array([table.values[number][0] for number in order], dtype=np.int32),
    )


def _sort_key(table: AttributeTable, number: int) -> tuple[str, str]:
    attribute, value = table.values[number]
    return table.attributes[attribute], value


def _check_names(table: AttributeTable, bundle: Bundle, images: Sequence[int]) -> None:
    """Raise InvalidEvidence for images that are not in the data set. Images that are not evaluated are permitted."""
    if not images:
        return
    known = {normalize_unicode("NFC", name) for name in bundle.image_names}
    unknown = [image for image in images if normalize_unicode("NFC", table.names[image]) not in known]
    if not unknown:
        return
    violations = [
        Violation("file_name", f"unknown image {table.names[image]!r:.80}", table.places[image][1])
        for image in unknown[:MAX_VIOLATIONS]
    ]
    source, line = table.places[unknown[0]]
    more = f" (and {len(unknown) - 1:,} more)" if len(unknown) > 1 else ""
    raise InvalidEvidence(
        f"{source}, line {line}: image {table.names[unknown[0]]!r:.80} is not in data set '{bundle.dataset}'{more}. "
        f"Use names such as {bundle.image_names[0]!r:.80}.",
        violations=violations,
    )

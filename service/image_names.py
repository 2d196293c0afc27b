"""Finds the image to which a file name refers: the image whose path has the longest common end with it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

UNKNOWN, AMBIGUOUS = -1, -2
MAX_CANDIDATES = 3  # images in the message about a name that can mean several
MAX_PARTS = 16  # folders and file name that are compared
EXTENSION = r"(?i)\.(?:jpe?g|png|bmp|gif|webp|tiff?|ppm|pgm|heic|avif)$"


@dataclass(frozen=True)
class _Ends:
    """The last path parts of each image name; each instance is for one number of parts."""

    ends: pa.Array  # (A,) the end of each image name
    distinct: pa.Array  # (K,) the distinct ends
    counts: NDArray[np.int64]  # (K,) images that have the end
    first: NDArray[np.int64]  # (K,) the first one of them


class NameIndex:
    """Index of the A image names of a data set by their ends. Built if a file has names that are not image names."""

    def __init__(self, names: pa.Array) -> None:
        """Create an index of (A,) distinct names."""
        self._names = names
        self._ends: dict[tuple[int, bool], _Ends] = {}

    def find(self, names: pa.Array) -> NDArray[np.int64]:
        """Return the image of each name, (n,): UNKNOWN if there is none, AMBIGUOUS if a name can mean several images.

        A name means the image whose path shares the most last parts (folders and file name) with it. If no image shares
        the file name, the extensions are ignored.
        """
        paths = _with_slashes(names)
        images = self._find_ends(paths, False)
        unknown = np.flatnonzero(images == UNKNOWN)
        if len(unknown):
            images[unknown] = self._find_ends(paths.take(pa.array(unknown)), True)
        return images

    def candidates(self, name: bytes, count: int) -> list[bytes]:
        """Return up to `count` images that an ambiguous name can mean."""
        path = _with_slashes(pa.array([name], pa.binary()))
        candidates: list[bytes] = []
        for is_bare in (False, True):
            for parts in range(1, MAX_PARTS + 1):
                matches = pc.equal(self._ends_of(parts, is_bare).ends, _end_of(path, parts, is_bare)[0])
                if not pc.any(matches).as_py():
                    break
                candidates = self._names.filter(matches).slice(0, count).to_pylist()
            if candidates:
                break
        return candidates

    @cached_property
    def _paths(self) -> pa.Array:
        return _with_slashes(self._names)

    def _find_ends(self, paths: pa.Array, is_bare: bool) -> NDArray[np.int64]:
        images = np.full(len(paths), UNKNOWN, dtype=np.int64)
        rows = np.arange(len(paths))  # rows that match several images
        for parts in range(1, MAX_PARTS + 1):
            known = self._ends_of(parts, is_bare)
            ends = _end_of(paths.take(pa.array(rows)), parts, is_bare)
            positions = np.asarray(pc.fill_null(pc.index_in(ends, value_set=known.distinct), -1)).astype(np.int64)
            rows, positions = rows[positions >= 0], positions[positions >= 0]
            is_single = known.counts[positions] == 1
            images[rows] = np.where(is_single, known.first[positions], AMBIGUOUS)
            rows = rows[~is_single]
            if not len(rows):
                break
        return images

    def _ends_of(self, parts: int, is_bare: bool) -> _Ends:
        key = parts, is_bare
        if key not in self._ends:
            ends = _end_of(self._paths, parts, is_bare)
            encoded = ends.dictionary_encode()
            codes = np.asarray(encoded.indices)
            first = np.zeros(len(encoded.dictionary), dtype=np.int64)
            first[codes[::-1]] = np.arange(len(codes))[::-1]
            self._ends[key] = _Ends(ends, encoded.dictionary, np.bincount(codes), first)
        return self._ends[key]


def _with_slashes(names: pa.Array) -> pa.Array:
    return pc.replace_substring(names, pattern=b"\\", replacement=b"/")


def _end_of(paths: pa.Array, parts: int, is_bare: bool) -> pa.Array:
    """Return the last parts of each path; the whole path if it has fewer."""
    if parts == 1:  # without a group, which takes three times as long
        pattern, replacement = "(?s)^.*/", ""
    else:
        pattern, replacement = rf"(?s)^.*/((?:[^/]*/){{{parts - 1}}}[^/]*)$", r"\1"
    ends = pc.replace_substring_regex(paths, pattern=pattern, replacement=replacement)
    return pc.replace_substring_regex(ends, pattern=EXTENSION, replacement="") if is_bare else ends

"""Finds the image to which a file name refers: their paths are equal, or one of the paths is the end of the other."""

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

UNKNOWN, AMBIGUOUS = -1, -2
MAX_CANDIDATES = 3  # images in a message about a name
MAX_PARTS = 16  # folders and file name of a path that can be the end of another one
# Of file names in uploads. Some are of formats that Errata cannot read, because it does not need the images.
EXTENSION = r"(?i)\.(?:jpe?g|png|bmp|gif|webp|tiff?|ppm|pgm|heic|avif)$"
INVISIBLE = r"\u00ad\u200b\u200e\u200f\u2060\ufeff"  # characters with which names that look the same can differ
_ALL = 0  # number of parts: the whole path


@dataclass(frozen=True)
class _Ends:
    """The ends of the paths of all images; each instance is for one number of parts."""

    ends: pa.Array  # (A,) the end of each path
    distinct: pa.Array  # (K,) the distinct ends
    images: NDArray[np.int64]  # (K,) the image that has the end; AMBIGUOUS: several images


class _PathIndex:
    """Index of the paths of A images, in one form, by their ends."""

    def __init__(self, paths: pa.Array) -> None:
        self._paths = paths
        self._depths = np.unique(_count_parts(paths))[::-1]
        self._ends: dict[int, _Ends] = {}

    def find(self, paths: pa.Array) -> NDArray[np.int64]:
        """Return the image of each path, (n,): UNKNOWN if there is none, AMBIGUOUS if there are several."""
        images = np.full(len(paths), UNKNOWN, dtype=np.int64)
        for is_compared, parts, image_parts in self._comparisons(_count_parts(paths)):
            rows = np.flatnonzero(is_compared & (images == UNKNOWN))
            if len(rows):
                known = self._ends_of(image_parts)
                ends = _end_of(paths.take(pa.array(rows)), parts)
                positions = np.asarray(pc.fill_null(pc.index_in(ends, value_set=known.distinct), -1)).astype(np.int64)
                is_match = positions >= 0
                images[rows[is_match]] = known.images[positions[is_match]]
        return images

    def matches(self, path: pa.Array) -> pa.Array:
        """Return the mask of the images that a path, (1,), can mean, (A,)."""
        for is_compared, parts, image_parts in self._comparisons(_count_parts(path)):
            if is_compared[0]:
                matches = self._have_end(_end_of(path, parts), image_parts)
                if pc.any(matches).as_py():
                    break
        return matches

    def similar(self, path: pa.Array) -> pa.Array:
        """Return the mask of the images whose paths have the longest common end with a path, (1,), (A,)."""
        similar = self._have_end(_end_of(path, 1), 1)
        for parts in range(2, MAX_PARTS + 1):
            longer = self._have_end(_end_of(path, parts), parts)
            if not pc.any(longer).as_py():
                break
            similar = longer
        return similar

    def _have_end(self, end: pa.Array, parts: int) -> pa.Array:
        return pc.equal(self._ends_of(parts).ends, end[0])

    def _comparisons(self, depths: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.bool_], int, int]]:
        """Yield the comparisons in their order: the mask of names, and the parts of names and of images to compare.

        A name is compared with whole paths, then with the ends of longer paths. Then its ends are compared with whole
        paths, first the longest.
        """
        yield np.ones(len(depths), dtype=bool), _ALL, _ALL
        for depth in np.unique(depths[(depths < self._depths.max(initial=0)) & (depths <= MAX_PARTS)]).tolist():
            yield depths == depth, _ALL, depth
        for depth in self._depths[self._depths <= MAX_PARTS].tolist():
            yield depths > depth, depth, _ALL

    def _ends_of(self, parts: int) -> _Ends:
        if parts not in self._ends:
            ends = _end_of(self._paths, parts)
            encoded = ends.dictionary_encode()
            codes = np.asarray(encoded.indices)
            images = np.full(len(encoded.dictionary), AMBIGUOUS, dtype=np.int64)
            is_single = np.bincount(codes)[codes] == 1
            images[codes[is_single]] = np.flatnonzero(is_single)
            self._ends[parts] = _Ends(ends, encoded.dictionary, images)
        return self._ends[parts]


class NameIndex:
    """Index of the A image names of a data set by their paths. Built if a file has names that are not image names."""

    def __init__(self, names: pa.Array) -> None:
        """Create an index of (A,) distinct names."""
        self._names = names
        self._indices: dict[_Form, _PathIndex] = {}

    def find(self, names: pa.Array) -> NDArray[np.int64]:
        """Return the image of each name, (n,): UNKNOWN if there is none, AMBIGUOUS if a name can mean several images.

        A name means the image with the same path. If there is none, it means the only image whose path ends with the
        name, and otherwise the image with the longest path that is an end of the name. Names without a match are
        compared in Unicode NFC, and then without extensions.
        """
        images = np.full(len(names), UNKNOWN, dtype=np.int64)
        for form in _FORMS:
            rows = np.flatnonzero(images == UNKNOWN)
            selected = names.take(pa.array(rows))
            if form in _NFC_FORMS:  # which equal the previous form for names in ASCII
                is_ascii = np.asarray(pc.invert(pc.match_substring_regex(selected, r"[\x80-\xff]")))
                rows, selected = rows[~is_ascii], selected.filter(pa.array(~is_ascii))
            if len(rows):
                images[rows] = self._index(form).find(form(selected))
        return images

    def candidates(self, name: bytes, count: int) -> list[bytes]:
        """Return up to `count` images that a name can mean. If there are none, return images with similar names.

        Similar are names that look the same. If there are none, these are the names with the longest common end.
        """
        names = pa.array([name], pa.binary())
        forms = [form for form in _FORMS if form not in _NFC_FORMS or not name.isascii()]
        for form in (*forms, _to_visible_path):
            if images := self._select(self._index(form).matches(form(names)), count):
                return images
        for form in forms:
            if images := self._select(self._index(form).similar(form(names)), count):
                return images
        return []

    def _select(self, is_match: pa.Array, count: int) -> list[bytes]:
        images: list[bytes] = self._names.filter(is_match).slice(0, count).to_pylist()
        return images

    def _index(self, form: "_Form") -> _PathIndex:
        if form not in self._indices:
            self._indices[form] = _PathIndex(form(self._names))
        return self._indices[form]


def _to_path(names: pa.Array) -> pa.Array:
    """Return the paths of names, with slashes. Parts without a meaning, such as the first of `./a.jpg`, are removed."""
    paths = pc.replace_substring(names, pattern=b"\\", replacement=b"/")
    if pc.any(pc.match_substring_regex(paths, r"^\.{0,2}/|/\.?/")).as_py():
        paths = pc.replace_substring_regex(paths, pattern=r"/(?:\.?/)+", replacement="/")
        paths = pc.replace_substring_regex(paths, pattern=r"^(?:\.{0,2}/)+", replacement="")
    return paths


def _to_nfc_path(names: pa.Array) -> pa.Array:
    return pa.array([_normalize(name) for name in _to_path(names).to_pylist()], pa.binary())


def _to_stem(names: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(_to_path(names), pattern=EXTENSION, replacement="")


def _to_nfc_stem(names: pa.Array) -> pa.Array:
    return _to_stem(_to_nfc_path(names))


def _to_visible_path(names: pa.Array) -> pa.Array:
    texts = (name.decode(errors="surrogateescape") for name in _to_nfc_path(names).to_pylist())
    visible = (re.sub(f"[{INVISIBLE}]", "", text).strip() for text in texts)
    return pa.array([text.encode(errors="surrogateescape") for text in visible], pa.binary())


def _normalize(name: bytes) -> bytes:
    text = name.decode(errors="surrogateescape")
    return unicodedata.normalize("NFC", text).encode(errors="surrogateescape")


_Form: TypeAlias = Callable[[pa.Array], pa.Array]
_FORMS: tuple[_Form, ...] = (_to_path, _to_nfc_path, _to_stem, _to_nfc_stem)  # in the order of their comparison
_NFC_FORMS = (_to_nfc_path, _to_nfc_stem)


def _count_parts(paths: pa.Array) -> NDArray[np.int64]:
    return np.asarray(pc.count_substring(paths, pattern=b"/")).astype(np.int64) + 1


def _end_of(paths: pa.Array, parts: int) -> pa.Array:
    """Return the last parts of each path; the whole path if it has fewer, or if `parts` is _ALL."""
    if parts == _ALL:
        return paths
    if parts == 1:  # without a group, which takes three times as long
        return pc.replace_substring_regex(paths, pattern="(?s)^.*/", replacement="")
    pattern = rf"(?s)^.*/((?:[^/]*/){{{parts - 1}}}[^/]*)$"
    return pc.replace_substring_regex(paths, pattern=pattern, replacement=r"\1")

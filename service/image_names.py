"""Finds the image to which a file name refers: their paths are equal, or one of the paths is the end of the other."""

import itertools
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from service.unicode_form import normalize_unicode

UNKNOWN, AMBIGUOUS = -1, -2
MAX_CANDIDATES = 3  # images in a message about a name
MAX_PARTS = 16  # folders and file name of a path that can be the end of another one
# Of file names in uploads. Some are of formats that Errata cannot read, because it does not need the images.
EXTENSION = r"(?i:\.(?:jpe?g|png|bmp|gif|webp|tiff?|ppm|pgm|heic|avif))"
INVISIBLE = r"\u00ad\u200b\u200e\u200f\u2060\ufeff"  # characters with which names that look the same can differ
_NOT_ASCII = r"[\x80-\xff]"
_ALL = 0  # number of parts: the whole path


class _PathIndex:
    """Index of the paths of A images, in one form, by their ends."""

    def __init__(self, paths: pa.Array) -> None:
        self._paths = paths
        self._depths = np.unique(_count_parts(paths))[::-1]
        self._ends: dict[int, pa.Array] = {}  # (A,) the end of each path, by its number of parts

    def find(self, paths: pa.Array) -> NDArray[np.int64]:
        """Return the image of each path, (n,): UNKNOWN if there is none, AMBIGUOUS if there are several."""
        images = np.full(len(paths), UNKNOWN, dtype=np.int64)
        for is_compared, parts, image_parts in self._comparisons(_count_parts(paths)):
            rows = np.flatnonzero(is_compared & (images == UNKNOWN))
            if len(rows):
                images[rows] = self._find_ends(_end_of(paths.take(pa.array(rows)), parts), image_parts)
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

    def _find_ends(self, ends: pa.Array, image_parts: int) -> NDArray[np.int64]:
        """Return the image whose path has each end, (n,): UNKNOWN if there is none, AMBIGUOUS if there are several."""
        image_ends = self._ends_of(image_parts)
        matches = pc.indices_nonzero(pc.is_in(image_ends, value_set=ends))
        encoded = image_ends.take(matches).dictionary_encode()
        codes = np.asarray(encoded.indices)
        images = np.full(len(encoded.dictionary) + 1, AMBIGUOUS, dtype=np.int64)
        images[-1] = UNKNOWN
        is_single = np.bincount(codes)[codes] == 1
        images[codes[is_single]] = np.asarray(matches)[is_single]
        positions = np.asarray(pc.fill_null(pc.index_in(ends, value_set=encoded.dictionary), -1))
        result: NDArray[np.int64] = images[positions]
        return result

    def _have_end(self, end: pa.Array, parts: int) -> pa.Array:
        return pc.equal(self._ends_of(parts), end[0])

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

    def _ends_of(self, parts: int) -> pa.Array:
        if parts not in self._ends:
            self._ends[parts] = _end_of(self._paths, parts)
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
        paths = _to_paths(names)
        images = np.full(len(paths), UNKNOWN, dtype=np.int64)
        for form in _FORMS:
            rows = np.flatnonzero(images == UNKNOWN)
            selected = paths.take(pa.array(rows))
            if form in _ASCII_FORMS:  # paths in ASCII were compared in an equal form
                is_other = pc.match_substring_regex(selected, _NOT_ASCII)
                rows, selected = rows[np.asarray(is_other)], selected.filter(is_other)
            if len(rows):
                images[rows] = self._index(form).find(form(selected))
        return images

    def candidates(self, name: bytes, count: int) -> list[bytes]:
        """Return up to `count` images that a name can mean. If there are none, return images with similar names.

        Similar are names that look the same. If there are none, these are the names with the longest common end.
        """
        path = _to_paths(pa.array([name], pa.binary()))
        is_related = self._share_file_name(path)
        related, paths = self._names.filter(is_related), self._paths.filter(is_related)
        forms = [form for form in _FORMS if form not in _ASCII_FORMS or not name.isascii()]
        indices = {form: _PathIndex(form(paths)) for form in (*forms, _to_visible)}
        masks = itertools.chain(
            (index.matches(form(path)) for form, index in indices.items()),
            (indices[form].similar(form(path)) for form in forms),
        )
        images = (related.filter(mask).slice(0, count).to_pylist() for mask in masks)
        return next(filter(None, images), [])

    def _share_file_name(self, path: pa.Array) -> pa.Array:
        """Return the mask of the images that have the file name of a path, (1,), in at least one form, (A,).

        It can include other images too: spaces and extensions at the end of a file name are ignored.
        """
        file = _end_of(_to_visible(path), 1)[0].as_py().decode(errors="surrogateescape")
        stem = re.sub(rf"\s*{EXTENSION}$", "", file).encode(errors="surrogateescape")
        if len(stem) > self._max_length:  # no path has it, and Arrow limits the size of patterns
            return pc.match_substring(self._visible_paths, stem)
        pattern = b"(?:^|/)%b(?:%b|[^!-~])*$" % (re.escape(stem), EXTENSION.encode())
        return pc.match_substring_regex(self._visible_paths, pattern)

    @cached_property
    def _paths(self) -> pa.Array:
        return _to_paths(self._names)

    @cached_property
    def _visible_paths(self) -> pa.Array:
        return _to_visible(self._paths)

    @cached_property
    def _max_length(self) -> int:
        return pc.max(pc.binary_length(self._visible_paths)).as_py() or 0

    @cached_property
    def _are_ascii(self) -> bool:
        return not pc.any(pc.match_substring_regex(self._paths, _NOT_ASCII)).as_py()

    def _index(self, form: "_Form") -> _PathIndex:
        if form in _ASCII_FORMS and self._are_ascii:
            form = _ASCII_FORMS[form]
        if form not in self._indices:
            self._indices[form] = _PathIndex(form(self._paths))
        return self._indices[form]


def _to_paths(names: pa.Array) -> pa.Array:
    """Return the paths of names, with slashes. Parts without a meaning, such as the first of `./a.jpg`, are removed."""
    paths = names
    if pc.any(pc.match_substring(names, "\\")).as_py():  # otherwise, a copy of millions of names would remain in memory
        paths = pc.replace_substring(names, pattern=b"\\", replacement=b"/")
    if pc.any(pc.match_substring_regex(paths, r"^\.{0,2}/|/\.?/")).as_py():
        paths = pc.replace_substring_regex(paths, pattern=r"/(?:\.?/)+", replacement="/")
        paths = pc.replace_substring_regex(paths, pattern=r"^(?:\.{0,2}/)+", replacement="")
    return paths


def _unchanged(paths: pa.Array) -> pa.Array:
    return paths


def _to_nfc(paths: pa.Array) -> pa.Array:
    return _change(paths, _NOT_ASCII, _normalize)


def _to_stem(paths: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(paths, pattern=f"{EXTENSION}$", replacement="")


def _to_nfc_stem(paths: pa.Array) -> pa.Array:
    return _to_stem(_to_nfc(paths))


def _to_visible(paths: pa.Array) -> pa.Array:
    return _change(paths, rf"{_NOT_ASCII}|(?:^|/)[^!-~]|[^!-~](?:/|$)", _remove_invisible)


def _change(paths: pa.Array, pattern: str, change: Callable[[str], str]) -> pa.Array:
    """Change the paths that match a pattern. The others stay in Arrow, because Python is slow for millions of paths."""
    is_changed = pc.match_substring_regex(paths, pattern)
    texts = (path.decode(errors="surrogateescape") for path in paths.filter(is_changed).to_pylist())
    changed = pa.array([change(text).encode(errors="surrogateescape") for text in texts], pa.binary())
    return pc.replace_with_mask(paths, is_changed, changed) if len(changed) else paths


def _normalize(path: str) -> str:
    return normalize_unicode("NFC", path)


def _remove_invisible(path: str) -> str:
    return "/".join(part.strip() for part in re.sub(f"[{INVISIBLE}]", "", _normalize(path)).split("/"))


_Form: TypeAlias = Callable[[pa.Array], pa.Array]
_FORMS: tuple[_Form, ...] = (_unchanged, _to_nfc, _to_stem, _to_nfc_stem)  # in the order of their comparison
_ASCII_FORMS: dict[_Form, _Form] = {_to_nfc: _unchanged, _to_nfc_stem: _to_stem}  # equal for paths in ASCII


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

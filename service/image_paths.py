"""The names that identify an image in a folder, a .tar file, or an object store."""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import TypeVar

from service.unicode_form import normalize_unicode

T = TypeVar("T")
_WHOLE = 0  # number of parts: the whole path


def index_by_name(locations: Mapping[str, T]) -> Mapping[str, T]:
    """Return locations by path, by the last two parts of the path, and by the last part, for `find_by_name`.

    Names that several images share are omitted, except complete paths. The keys include the names in Unicode NFC.
    """
    if all(map(str.isascii, locations)):
        return _index(locations.items())
    normalized = ((normalize_unicode("NFC", path), location) for path, location in locations.items())
    return {**_index(normalized), **_index(locations.items())}


def find_by_name(index: Mapping[str, T], name: str) -> T | None:
    """Return the location of the image with a name, or else with the same name in another Unicode form."""
    location = index.get(name)
    return index.get(normalize_unicode("NFC", name)) if location is None else location


def _index(locations: Iterable[tuple[str, T]]) -> dict[str, T]:
    """Return locations by the last part, the last two parts, and the whole path, without names that several share."""
    images = [(PurePosixPath(path).parts, path, location) for path, location in locations]
    index: dict[str, T] = {}
    for length in (1, 2, _WHOLE):
        ambiguous: set[str] = set()
        by_name: dict[str, T] = {}
        for parts, path, location in images:
            name = "/".join(parts[-length:]) if length != _WHOLE else path
            if name in by_name:
                ambiguous.add(name)
            by_name[name] = location
        index |= {name: location for name, location in by_name.items() if name not in ambiguous}
    return index

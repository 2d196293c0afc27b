"""The names that identify an image in a folder, a .tar file, or an object store."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TypeVar

T = TypeVar("T")


def index_by_name(locations: Mapping[str, T]) -> Mapping[str, T]:
    """Return locations by path, by the last two parts of the path, and by the last part.

    Names that several images share are omitted, except complete paths.
    """
    index: dict[str, T] = {}
    for parts in (1, 2):
        ambiguous: set[str] = set()
        by_suffix: dict[str, T] = {}
        for path, location in locations.items():
            name = "/".join(PurePosixPath(path).parts[-parts:])
            if name in by_suffix:
                ambiguous.add(name)
            by_suffix[name] = location
        index |= {name: location for name, location in by_suffix.items() if name not in ambiguous}
    return {**index, **locations}

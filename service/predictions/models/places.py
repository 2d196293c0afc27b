"""Where the bytes of images lie: files below a folder, or members of a tar file.

A folder isn't listed by timm's reader, which follows links out of it; a tar file is, tars within it included.
"""

import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from timm.data.readers.reader_image_in_tar import extract_tarinfos

from service.errors import ImagesMissing

EXTENSIONS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class Place:
    """The bytes of one image."""

    file: Path
    offset: int = 0
    size: int = -1  # -1: to the end

    def read(self, limit: int) -> bytes:
        """Return the bytes; raise OSError, also for more than the limit."""
        with self.file.open("rb") as file:
            size = self.size if self.size >= 0 else os.fstat(file.fileno()).st_size
            if size > limit:
                raise OSError(f"expected at most {limit} bytes, got {size}")
            file.seek(self.offset)
            return file.read(size)


def find_places(path: Path) -> Mapping[str, Place]:
    """Return the images of a folder or .tar file by every name that means one; raise ImagesMissing if there are none.

    Names are an image's path, its folder and file (`wnid/file`), and its bare file name, unless two images have it.
    """
    if path.is_dir():
        found = _in_folder(path)
    elif path.is_file() and path.suffix == ".tar":
        found = _in_tar(path)
    else:
        raise ImagesMissing(f"expected a folder of images or a .tar file at {path}, got none: set ERRATA_IMAGES")
    if not found:
        raise ImagesMissing(f"expected images in {path}, got none: set ERRATA_IMAGES")
    return by_name(found)


def by_name(places: Mapping[str, Place]) -> Mapping[str, Place]:
    """Return places by path, by the last two parts of it and by the last one; names that several have are left out."""
    found: dict[str, Place] = {}
    for parts in (1, 2):
        shared: set[str] = set()
        short: dict[str, Place] = {}
        for path, place in places.items():
            name = "/".join(PurePosixPath(path).parts[-parts:])
            if name in short:
                shared.add(name)
            short[name] = place
        found |= {name: place for name, place in short.items() if name not in shared}
    return {**found, **places}


def _in_folder(folder: Path) -> Mapping[str, Place]:
    """Find images by their paths below a folder; a link counts if it leads to a file inside."""
    inside = folder.resolve()
    found: dict[str, Place] = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            if path.suffix.lower() not in EXTENSIONS:
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                continue
            found[path.relative_to(folder).as_posix()] = Place(path)
    return found


def _in_tar(path: Path) -> Mapping[str, Place]:
    try:
        samples: Sequence[tuple[tarfile.TarInfo, None, tarfile.TarInfo | None]]
        samples, *_ = extract_tarinfos(str(path), cache_tarinfo=False, extensions=set(EXTENSIONS), sort=False)
    except tarfile.TarError as error:
        raise ImagesMissing(f"expected a whole tar file at {path}, got {error!s:.120}") from error
    except ValueError:  # timm's way to say that there are no images
        return {}
    found: dict[str, Place] = {}
    for member, _, parent in samples:
        inner = "" if parent is None else PurePosixPath(parent.name).with_suffix("").as_posix() + "/"
        start = member.offset_data + (0 if parent is None else parent.offset_data)
        found[PurePosixPath(inner + member.name).as_posix()] = Place(path, start, member.size)
    return found

"""Images in folders: where the bytes of each lie, by every name that means one."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

EXTENSIONS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
MAX_PIXELS = 1 << 26  # an image that unpacks to more is taken for a bomb
MAX_BYTES = 1 << 28  # of a file
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # none that starts another program


@dataclass(frozen=True)
class ImageLocation:
    """The bytes of one image."""

    file: Path
    offset: int = 0
    size: int = -1  # -1: to the end

    def read(self, limit: int) -> bytes:
        """Return the bytes; raise OSError, also for more than the limit, or for what is no plain file."""
        with os.fdopen(os.open(self.file, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # a pipe isn't waited for
            result = os.fstat(file.fileno())
            if not stat.S_ISREG(result.st_mode):
                raise OSError("expected a plain file, got another kind")
            size = self.size if self.size >= 0 else result.st_size
            if size > limit:
                raise OSError(f"expected at most {limit} bytes, got {size}")
            file.seek(self.offset)
            return file.read(size)


def list_images(folder: Path) -> Mapping[str, ImageLocation]:
    """Find images by their paths below a folder; a link counts if it leads to a file inside."""
    inside = folder.resolve()
    result: dict[str, ImageLocation] = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            if path.suffix.lower() not in EXTENSIONS:
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                continue
            result[path.relative_to(folder).as_posix()] = ImageLocation(path)
    return result


def index_by_name(locations: Mapping[str, ImageLocation]) -> Mapping[str, ImageLocation]:
    """Return places by path, by the last two parts of it and by the last one; names that several have are left out."""
    result: dict[str, ImageLocation] = {}
    for parts in (1, 2):
        shared: set[str] = set()
        short: dict[str, ImageLocation] = {}
        for path, location in locations.items():
            name = "/".join(PurePosixPath(path).parts[-parts:])
            if name in short:
                shared.add(name)
            short[name] = location
        result |= {name: location for name, location in short.items() if name not in shared}
    return {**result, **locations}

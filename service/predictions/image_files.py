"""Locations of images: files, parts of files, and objects in a store."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from service.image_formats import EXTENSIONS

MAX_PIXELS = 1 << 26  # pixels; an image with more is treated as a decompression bomb
MAX_BYTES = 1 << 28  # size limit of a file


class ImageLocation(Protocol):
    """Where the bytes of one image are."""

    def is_outdated(self) -> bool:
        """Return whether the location may have other bytes than those of the image now."""
        ...

    def version(self) -> str:
        """Return a text that identifies the image and its current state; raise OSError if the image does not exist."""
        ...

    def read(self, limit: int) -> bytes:
        """Return the bytes of the image; raise OSError if there are more than `limit`, or if they cannot be read."""
        ...


@dataclass(frozen=True)
class FileLocation:
    """A file, or a range of bytes in a file, that contains one image."""

    file: Path
    offset: int = 0
    size: int = -1  # -1: to the end of the file
    listed_state: str = ""  # `file_state` when the ranges of a .tar file were listed; empty: a whole file
    folder: Path | None = None  # links must not lead out of this folder; None: no restriction

    def version(self) -> str:
        """Return the location, size, and modification time."""
        status = os.stat(self.file)
        self._check_state(status)
        return f"{self.file}:{self.offset}:{self.size}:{status.st_size}:{status.st_mtime_ns}"

    def read(self, limit: int) -> bytes:
        """Return the bytes of a regular file."""
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW  # a pipe must not block
        # Unlike fdopen, open closes the descriptor of a folder.
        with open(self._resolve(), "rb", opener=lambda name, _: os.open(name, flags)) as file:
            status = os.fstat(file.fileno())
            self._check_state(status)
            if not stat.S_ISREG(status.st_mode):
                raise OSError("The file is not a regular file. Replace it with an image.")
            size = self.size if self.size >= 0 else status.st_size
            if size > limit:
                raise OSError(f"The file has {size:,} bytes. Expected at most {limit:,}.")
            file.seek(self.offset)
            return file.read(size)

    def is_outdated(self) -> bool:
        """Return whether the .tar file is another one than when it was listed."""
        try:
            return bool(self.listed_state) and file_state(os.stat(self.file)) != self.listed_state
        except OSError:
            return True

    def _resolve(self) -> str:
        """Return the path without links; raise OSError if a link leads out of the folder."""
        path = os.path.realpath(self.file)
        if self.folder is None or path == str(self.file):  # no part of the path is a link
            return path
        if not Path(path).is_relative_to(os.path.realpath(self.folder)):
            raise OSError("A link leads out of the folder of images. Replace it with the image.")
        return path

    def _check_state(self, status: os.stat_result) -> None:
        """Raise OSError if the range can now have the bytes of another image."""
        if self.listed_state and file_state(status) != self.listed_state:
            raise OSError(f"{self.file.name} was replaced while its images were read. Run the analysis again.")


def file_state(status: os.stat_result) -> str:
    """Return a text that differs if a file was replaced or changed."""
    return f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


@dataclass(frozen=True)
class ObjectLocation:
    """An object in an object store."""

    file_system: Any  # file system of fsspec
    path: str
    state: str  # size and modification of the object when it was listed

    def is_outdated(self) -> bool:
        """Return False: an object store is not asked again."""
        return False

    def version(self) -> str:
        """Return the path and the state."""
        return f"{self.path}:{self.state}"

    def read(self, limit: int) -> bytes:
        """Return the bytes of the object."""
        try:
            content = bytes(self.file_system.cat_file(self.path, start=0, end=limit + 1))
        except Exception as error:  # the errors of the stores' clients have no common base class
            raise OSError(f"The object cannot be read ({type(error).__name__}).") from error
        if len(content) > limit:
            raise OSError(f"The object has more than {limit:,} bytes.")
        return content


def list_images(folder: Path) -> Mapping[str, ImageLocation]:
    """Return the images below a folder by their relative paths. Links that lead out of the folder are skipped."""
    folder_path = os.path.realpath(folder)
    locations: dict[str, ImageLocation] = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            if path.suffix.lower() not in EXTENSIONS:
                continue
            # Unlike `Path.resolve`, `realpath` raises no error for a link to itself.
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(folder_path):
                continue
            locations[path.relative_to(folder).as_posix()] = FileLocation(path, folder=folder)
    return locations

"""The images of a data set: files below a folder, members of a tar file, or objects below a URL."""

import os
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

import structlog
from errata.errors import ErrataError, ImagesMissing

from service.image_formats import EXTENSIONS
from service.image_paths import find_by_name, index_by_name
from service.object_store import is_remote, open_file_system
from service.predictions.image_files import (
    FileLocation,
    ImageLocation,
    ObjectLocation,
    file_state,
    list_images,
)

REMEDY = "Set ERRATA_IMAGES"
LIST_SECONDS = 5.0  # minimum time between two listings of a location
LIST_SHARE = 0.1  # maximum share of the time that listings take
STATE_KEYS = ("ETag", "etag", "size", "LastModified", "mtime", "created")  # fields of fsspec's description

_log = structlog.get_logger()


class ImageListing:
    """The images of a folder, .tar file, or URL. Thread-safe.

    They are listed on first use, and again if a name is missing, or if a .tar file has been replaced. Objects below a
    URL are listed once.
    """

    def __init__(self, location: Path | str) -> None:
        self.location = location
        self._lock = threading.Lock()
        self._images: Mapping[str, ImageLocation] | None = None
        self._error: ErrataError | None = None
        self._next_listing = 0.0  # monotonic time

    def exists(self) -> bool:
        """Return whether the location exists; True for a URL."""
        return is_remote(str(self.location)) or Path(self.location).exists()

    def images(self) -> Mapping[str, ImageLocation]:
        """Return the images of the last listing, keyed by all of their names.

        Raises:
            ImagesMissing: The images cannot be listed; see `find_images`.
            InvalidSetting: The scheme of the URL is not supported.
        """
        if self._images is None:
            self._list()
        if self._images is None:
            assert self._error is not None, "This is a bug: a listing without images has an error."
            raise self._error.with_traceback(None)  # otherwise, each raise would add to the traceback
        return self._images

    def find(self, name: str) -> ImageLocation | None:
        """Return the location of an image; None if it is missing. Raise an error if `images` does."""
        location = find_by_name(self.images(), name)
        if location is None and not is_remote(str(self.location)):
            self._list()
        elif location is not None and location.is_outdated():
            self._list(is_outdated=True)
        else:
            return location
        location = find_by_name(self.images(), name)
        return location if location is not None and not location.is_outdated() else None

    def _list(self, *, is_outdated: bool = False) -> None:
        """List the images, and keep the last listing if this one fails.

        If there is a listing, nothing happens while another thread lists the images or, except for an outdated listing,
        for a while after it.
        """
        if not self._lock.acquire(blocking=self._images is None or is_outdated):
            return
        try:
            start = time.monotonic()
            if start < self._next_listing and (not is_outdated or self._error is not None):
                return
            try:
                self._images, self._error = find_images(self.location), None
            except ErrataError as error:
                self._error = error
                _log.warning("images cannot be listed", location=str(self.location), error=str(error)[:300])
            stop = time.monotonic()
            self._next_listing = stop + max(LIST_SECONDS, (stop - start) / LIST_SHARE)
        finally:
            self._lock.release()


def find_images(location: Path | str) -> Mapping[str, ImageLocation]:
    """Return the images of a folder, .tar file, or URL. The keys are all names that identify an image.

    The names of an image are its path, its folder and file name (`wnid/file`), and its bare file name. Names that two
    images share are omitted.

    Raises:
        ImagesMissing: The location is neither a folder, nor a .tar file, nor a URL that can be listed, or has no
            images.
        InvalidSetting: The scheme of the URL is not supported.
    """
    locations = _list_objects(str(location)) if is_remote(str(location)) else _list_files(Path(location))
    if not locations:
        raise ImagesMissing(f"No images in {location}. {REMEDY} to a folder or .tar file with images.")
    return index_by_name(locations)


def _list_files(path: Path) -> Mapping[str, ImageLocation]:
    try:
        if path.is_dir():
            return list_images(path)
        if not (path.is_file() and path.suffix == ".tar"):
            raise ImagesMissing(f"No folder of images or .tar file at {path}. {REMEDY} on this machine.")
    except OSError as error:
        raise ImagesMissing(
            f"The images at {path} cannot be listed: {error.strerror}. Check the permissions."
        ) from error
    try:
        with path.open("rb") as file:
            state = file_state(os.fstat(file.fileno()))
            return {name: FileLocation(path, start, size, state) for name, start, size in _members(file)}
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:  # damaged headers raise any of these
        raise ImagesMissing(f"The tar file {path} is damaged ({error!s:.120}). Copy it again.") from error


def _list_objects(url: str) -> Mapping[str, ImageLocation]:
    """Return the images below a URL. The objects are listed once, so later changes are not noticed."""
    file_system, root = open_file_system(url, "ERRATA_IMAGES")
    prefix = root.rstrip("/") + "/"
    try:
        objects: Mapping[str, Mapping[str, Any]] = file_system.find(root, detail=True)
    except Exception as error:  # the errors of the stores' clients have no common base class
        raise ImagesMissing(f"The images at {url} cannot be listed ({type(error).__name__}). {REMEDY}.") from error
    return {
        path.removeprefix(prefix): ObjectLocation(file_system, path, _state(entry))
        for path, entry in objects.items()
        if PurePosixPath(path).suffix.lower() in EXTENSIONS
    }


def _state(entry: Mapping[str, Any]) -> str:
    return ":".join(str(entry[key]) for key in STATE_KEYS if entry.get(key) is not None)


def _members(file: IO[bytes], nested: bool = False) -> Iterator[tuple[str, int, int]]:
    """Yield the name, byte offset, and size of each image in a tar file and in nested tar files.

    Links and names with `..` have no effect: only the bytes of regular members are read, from the tar file.
    """
    with tarfile.open(fileobj=file, mode="r:") as archive:
        position = -1
        while (member := archive.next()) is not None:
            if member.size < 0 or archive.offset <= position:  # tarfile would repeat members forever
                raise tarfile.ReadError("a member has an invalid size")
            position = archive.offset
            archive.members.clear()  # type: ignore[attr-defined]  # a million members would take a gigabyte
            path = PurePosixPath(member.name)
            if not member.isreg() or member.issparse():
                continue
            if path.suffix.lower() in EXTENSIONS:
                yield path.as_posix(), member.offset_data, member.size
            elif path.suffix == ".tar" and not nested and (part := archive.extractfile(member)) is not None:
                for name, start, size in _members(part, nested=True):
                    yield f"{path.with_suffix('').as_posix()}/{name}", member.offset_data + start, size
        file.seek(archive.offset)
        if any(file.read(tarfile.BLOCKSIZE)):  # tarfile treats a damaged header as the end of the file
            raise tarfile.ReadError(f"invalid header at byte {archive.offset}")

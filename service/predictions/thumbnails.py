"""Pictures of a data set's images, small enough for a page; from plain folders only, so that no torch is needed."""

import io
import threading
from collections.abc import Mapping
from pathlib import Path

import structlog
from PIL import Image

from service.predictions.image_files import FORMATS, ImageLocation, index_by_name, list_images

QUALITY = 80  # of JPEG
MAX_BYTES = 1 << 25  # of a file
MAX_PIXELS = 1 << 25  # of an image; it is decoded whole, one at a time
KEPT = 512  # thumbnails
_log = structlog.get_logger()


class Thumbnails:
    """Makes thumbnails; a folder is listed when its first picture is asked for. Safe to use from several threads."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders
        self._listing = threading.Lock()
        self._decoding = threading.Lock()
        self._locations: dict[str, Mapping[str, ImageLocation]] = {}
        self._made: dict[tuple[str, str, int], bytes] = {}

    def has(self, dataset: str) -> bool:
        """Say whether a data set's images lie in a folder at hand."""
        folder = self._folders.get(dataset)
        return folder is not None and folder.is_dir()

    def thumbnail(self, dataset: str, name: str, size: int) -> bytes | None:
        """Return an image as a JPEG of at most size x size pixels; None if it isn't there or can't be decoded."""
        location = self._listed(dataset).get(name)
        if location is None:
            return None
        with self._decoding:
            if (known := self._made.get((dataset, name, size))) is not None:
                return known
            try:
                made = _made(location, size)
            except Exception as error:  # a decoder may say anything of bytes that it wasn't made for
                _log.warning("no picture can be made of an image", dataset=dataset, name=name, error=repr(error)[:200])
                return None
            while len(self._made) >= KEPT:
                del self._made[next(iter(self._made))]
            self._made[dataset, name, size] = made
        return made

    def _listed(self, dataset: str) -> Mapping[str, ImageLocation]:
        if not self.has(dataset):
            return {}
        with self._listing:
            if dataset not in self._locations:
                self._locations[dataset] = index_by_name(list_images(self._folders[dataset]))
            return self._locations[dataset]


def _made(location: ImageLocation, size: int) -> bytes:
    """Return an image as a small JPEG, as a model sees it: no turning by what a camera noted."""
    with Image.open(io.BytesIO(location.read(MAX_BYTES)), formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"expected at most {MAX_PIXELS} pixels, got {image.width} x {image.height}")
        image.draft("RGB", (size, size))
        small = image.convert("RGB")
        small.thumbnail((size, size))
    content = io.BytesIO()
    small.save(content, "JPEG", quality=QUALITY)
    return content.getvalue()

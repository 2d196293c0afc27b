"""Thumbnails of a data set's images for pages. Only plain folders have thumbnails, because other sources need torch."""

import io
import threading
from collections.abc import Mapping
from pathlib import Path

import structlog
from PIL import Image

from service.image_formats import FORMATS
from service.predictions.image_files import ImageLocation, index_by_name, list_images

QUALITY = 80  # JPEG quality
MAX_BYTES = 1 << 25  # size limit of a file
MAX_PIXELS = 1 << 25  # size limit of an image; images are decoded completely, one at a time
CACHE_SIZE = 512  # thumbnails
_log = structlog.get_logger()


class Thumbnails:
    """Makes and caches thumbnails. A folder is listed on first use. Safe to use from several threads."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders
        self._list_lock = threading.Lock()
        self._decode_lock = threading.Lock()
        self._locations: dict[str, Mapping[str, ImageLocation]] = {}
        self._cache: dict[tuple[str, str, int], bytes] = {}

    def has(self, dataset: str) -> bool:
        """Return whether the images of a data set are in a folder of this machine."""
        folder = self._folders.get(dataset)
        return folder is not None and folder.is_dir()

    def thumbnail(self, dataset: str, name: str, size: int) -> bytes | None:
        """Return an image as a JPEG of at most size x size pixels; None if it is missing or cannot be decoded."""
        location = self._list(dataset).get(name)
        if location is None:
            return None
        with self._decode_lock:
            if (cached := self._cache.get((dataset, name, size))) is not None:
                return cached
            try:
                content = _make_thumbnail(location, size)
            except Exception as error:  # a decoder may raise any error for damaged bytes
                _log.warning("thumbnail failed", dataset=dataset, name=name, error=repr(error)[:200])
                return None
            while len(self._cache) >= CACHE_SIZE:
                del self._cache[next(iter(self._cache))]
            self._cache[dataset, name, size] = content
        return content

    def _list(self, dataset: str) -> Mapping[str, ImageLocation]:
        if not self.has(dataset):
            return {}
        with self._list_lock:
            if dataset not in self._locations:
                self._locations[dataset] = index_by_name(list_images(self._folders[dataset]))
            return self._locations[dataset]


def _make_thumbnail(location: ImageLocation, size: int) -> bytes:
    """Return an image as a small JPEG. The EXIF orientation is ignored, as it is for models."""
    with Image.open(io.BytesIO(location.read(MAX_BYTES)), formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"The image has {image.width} x {image.height} pixels. Expected at most {MAX_PIXELS:,}.")
        image.draft("RGB", (size, size))
        small = image.convert("RGB")
        small.thumbnail((size, size))
    content = io.BytesIO()
    small.save(content, "JPEG", quality=QUALITY)
    return content.getvalue()

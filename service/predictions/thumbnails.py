"""Pictures of a data set's images for pages and reports: made on demand, and cached on disk."""

import hashlib
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import structlog
from errata.errors import ErrataError

from service.image_formats import decoding_suffix
from service.predictions.image_files import ImageLocation
from service.predictions.image_sources import ImageListing
from service.predictions.pictures.cache import PictureCache
from service.predictions.pictures.messages import PictureRequest, SlowPicture, UnreadablePicture
from service.predictions.pictures.process import Decoder, DecoderPool

THUMBNAIL = PictureRequest(256, quality=80, is_thumbnail=True)
PICTURE = PictureRequest(2048, quality=92, is_thumbnail=False)
MAX_BYTES = 1 << 25  # size limit of a file
MAX_FAILED = 10_000  # maximum number of unreadable pictures that are remembered
SLOW_SECONDS = 600.0  # delay before an image that took too long is decoded again
FORMAT = "1"  # format of the pictures; after a change, all pictures are made again
_log = structlog.get_logger()


class Thumbnails:
    """Makes and caches pictures. The images of a data set are listed on first use. Thread-safe."""

    def __init__(
        self,
        sources: Mapping[str, Path | str],
        cache: PictureCache | None = None,
        decoder: Decoder | None = None,
    ) -> None:
        """Prepare the sources.

        Args:
            sources: Folder, .tar file, or URL of the images of each data set.
            cache: The cache on disk; None: every call makes its picture.
            decoder: Decodes images; None: sandboxed processes, which start with the first image.
        """
        self._sources = {dataset: ImageListing(source) for dataset, source in sources.items()}
        self._cache = cache
        self._decoder = decoder or DecoderPool()
        self._failed: dict[str, float] = {}  # by picture: the time before which it is not made again

    def has(self, dataset: str) -> bool:
        """Return whether a data set has a configured location of images that exists."""
        source = self._sources.get(dataset)
        return source is not None and source.exists()

    def version(self, dataset: str, name: str) -> str:
        """Return a digest for URLs that changes with the file of an image; empty if the image is missing."""
        located = self._locate(dataset, name)
        return "" if located is None else _digest(located[1])[:16]

    def thumbnail(self, dataset: str, name: str, size: int = THUMBNAIL.size) -> bytes | None:
        """Return an image as a JPEG of at most size x size pixels; None if `load` returns None or fails."""
        try:
            return self.load(dataset, name, replace(THUMBNAIL, size=size))
        except ErrataError as error:
            _log.warning("thumbnail is not available", dataset=dataset, error=error.message)
            return None

    def find_cached(self, dataset: str, name: str) -> bytes | None:
        """Return the thumbnail of an image; None if the thumbnail is not in the cache."""
        located = self._locate(dataset, name)
        return None if located is None or self._cache is None else self._cache.read(_cache_key(located[1], THUMBNAIL))

    def load(self, dataset: str, name: str, request: PictureRequest) -> bytes | None:
        """Return an image as a JPEG.

        Returns:
            The JPEG; None if the image is missing, cannot be decoded, or exceeds a limit on size or time.

        Raises:
            TooBusy: Too many pictures are being made.
            Unavailable: The service is stopping.
        """
        located = self._locate(dataset, name)
        if located is None:
            return None
        location, version = located
        key = _cache_key(version, request)
        if self._cache is not None and (cached := self._cache.read(key)) is not None:
            return cached
        if time.monotonic() < self._failed.get(key, 0.0):
            return None
        try:
            content = self._decoder.make(location.read(MAX_BYTES), request)
        except (UnreadablePicture, SlowPicture, OSError) as error:
            _log.warning("picture cannot be made", dataset=dataset, name=name[:200], error=str(error)[:200])
            if not isinstance(error, OSError):
                is_slow = isinstance(error, SlowPicture)
                self._remember_failure(key, time.monotonic() + SLOW_SECONDS if is_slow else math.inf)
            return None
        if self._cache is not None:
            self._cache.write(key, content)
        return content

    def stop(self) -> None:
        """End the processes that decode images."""
        self._decoder.stop()

    def _locate(self, dataset: str, name: str) -> tuple[ImageLocation, str] | None:
        """Return the location of an image, and its version; None if it is missing."""
        try:
            location = self._sources[dataset].find(name)
            return None if location is None else (location, location.version() + decoding_suffix(name))
        except (KeyError, ErrataError, OSError):
            return None  # no images, or images that cannot be listed now, or deleted since they were listed

    def _remember_failure(self, key: str, until: float) -> None:
        if len(self._failed) >= MAX_FAILED:
            self._failed.clear()
        self._failed[key] = until


def _cache_key(version: str, request: PictureRequest) -> str:
    return _digest(f"{_text(request)}:{version}")


@lru_cache(maxsize=32)
def _text(request: PictureRequest) -> str:
    return f"{FORMAT}:{request}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()

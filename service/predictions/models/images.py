"""Images of a data set, opened by the names that the data set gives them, whatever damage they have."""

from collections.abc import Mapping
from functools import cached_property
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from service.predictions.image_files import FORMATS, MAX_BYTES, MAX_PIXELS, ImageLocation
from service.predictions.models.image_sources import find_images

MAX_ASPECT = 100  # longer side by shorter side: a transform that scales the shorter side up enlarges both


class UnreadableImage(Exception):
    """Raised when one image can't be had; says why. The others may be fine."""


class ImageFolder:
    """The images of a folder or tar file; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def locations(self) -> Mapping[str, ImageLocation]:
        """Return where each image lies; raise ImagesMissing if there are none."""
        return find_images(self._path)

    def open(self, name: str) -> Image.Image:
        """Return an image in RGB; raise BadImage if it isn't there, is too large or can't be decoded."""
        location = self.locations.get(name)
        if location is None:
            raise UnreadableImage(f"expected it below {self._path}, got no such file, or several of that name")
        try:
            with Image.open(BytesIO(location.read(MAX_BYTES)), formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UnreadableImage(f"expected at most {MAX_PIXELS} pixels, got {image.width} x {image.height}")
                if max(image.size) > MAX_ASPECT * min(image.size):
                    raise UnreadableImage(
                        f"expected sides that differ by a factor of at most {MAX_ASPECT}, got {image.width} x "
                        f"{image.height}"
                    )
                return image.convert("RGB")
        except UnreadableImage:
            raise
        except MemoryError:
            raise UnreadableImage("it takes more memory to decode than there is") from None
        except UnidentifiedImageError:
            raise UnreadableImage(f"it can't be decoded: it is none of {', '.join(FORMATS)}") from None
        except Exception as error:  # a decoder may say anything of bytes that it wasn't made for
            raise UnreadableImage(f"it can't be decoded: {error!s:.120}") from error

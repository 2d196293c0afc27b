"""Images of a data set, opened by name. Damaged images raise one error."""

from contextlib import suppress
from io import BytesIO

from errata.errors import ImagesMissing
from PIL import Image, UnidentifiedImageError

from service.image_formats import FORMATS, decoding_suffix, to_rgb
from service.predictions.image_files import MAX_BYTES, MAX_PIXELS
from service.predictions.image_sources import ImageListing

MAX_ASPECT = 100  # longer side divided by shorter side: a transform that enlarges the shorter side enlarges both


class UnreadableImage(Exception):
    """Raised when one image cannot be read. Other images may be readable."""


class ImageFolder(ImageListing):
    """The images of a folder or tar file. Safe to use from several threads."""

    def version(self, name: str) -> str:
        """Return a text that identifies an image and its current state; empty if the image is missing."""
        with suppress(ImagesMissing, OSError):
            if (location := self.find(name)) is not None:
                return location.version() + decoding_suffix(name)
        return ""

    def open(self, name: str) -> Image.Image:
        """Return an image in RGB; raise UnreadableImage if it is missing, too large, or damaged."""
        location = self.find(name)
        if location is None:
            raise UnreadableImage(
                f"No image, or more than one, has this name below {self.location}. Keep one image per name."
            )
        try:
            with Image.open(BytesIO(location.read(MAX_BYTES)), formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UnreadableImage(
                        f"The image has {image.width} x {image.height} pixels. Expected at most {MAX_PIXELS:,} pixels."
                    )
                if max(image.size) > MAX_ASPECT * min(image.size):
                    raise UnreadableImage(
                        f"The image has {image.width} x {image.height} pixels. Expected sides that differ by a factor "
                        f"of at most {MAX_ASPECT}."
                    )
                return to_rgb(image)
        except UnreadableImage:
            raise
        except MemoryError:
            raise UnreadableImage(
                "Decoding the image takes more memory than is available. Reduce the size of the image."
            ) from None
        except UnidentifiedImageError:
            raise UnreadableImage(f"The file is not an image in one of the formats {', '.join(FORMATS)}.") from None
        except Exception as error:  # a decoder may raise any error for damaged bytes
            raise UnreadableImage(f"The image cannot be decoded: {error!s:.120}. Replace the file.") from error

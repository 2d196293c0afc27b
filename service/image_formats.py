"""The image formats that Errata reads, and the RGB values of their images."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # Pillow starts no other program for these
EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")  # lower case
DECODING = "2"  # of deep images; after a change of their RGB values, cached results are computed again
DEEP_MODES = ("F", "I", "I;16", "I;16B", "I;16L", "I;16N")  # more than 8 bits per channel
_8_BIT_EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".webp")  # of formats without deep images
_16_BIT_FORMATS = ("PNG", "PPM")  # Pillow opens their images of 16 bits in the mode I, in some versions


def decoding_suffix(name: str) -> str:
    """Return the suffix of the cache keys of an image by its name; empty if its format has no deep images."""
    return "" if name.lower().endswith(_8_BIT_EXTENSIONS) else f":decoding-{DECODING}"


def to_rgb(image: "Image.Image") -> "Image.Image":
    """Return an image in RGB. Pillow would clip the values of images with more than 8 bits per channel.

    Integers of 16 bits are scaled by their type, so that the image does not depend on its extreme values, as an image
    of 8 bits does not. Other deep images have no defined range, so they are scaled by their extreme values.

    Raises:
        ValueError: The image has values that are not finite.
    """
    if image.mode not in DEEP_MODES:
        return image.convert("RGB")
    values = image.convert("F")
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in _16_BIT_FORMATS):
        scale, offset = 1 / 257, 0.5  # rounds, because the conversion to L truncates
    else:
        low, high = (float(value) for value in values.getextrema())  # type: ignore[arg-type]
        scale = 255.0 / (high - low) if high > low else 0.0
        offset = -low * scale
    scaled = values.point(lambda value: value * scale + offset)
    mean = scaled.reduce(scaled.size).getpixel((0, 0))  # unlike the extreme values, NaN if any value is NaN
    if not math.isfinite(mean):  # type: ignore[arg-type]
        raise ValueError("The image has values that are not finite.")
    return scaled.convert("L").convert("RGB")

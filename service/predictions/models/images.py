"""Images of a data set in a folder: flat, or in a folder a class (`wnid/file`), found by their names."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from PIL import Image

from service.errors import ImagesMissing

MAX_PIXELS = 1 << 28  # an image that unpacks to more is taken for a bomb


class FolderImages:
    """Opens images by the names that the data set gives them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def _paths(self) -> Mapping[str, Path]:
        """Find every file, by its path below the folder and by its bare name."""
        if not self._folder.is_dir():
            raise ImagesMissing(f"expected a folder of images at {self._folder}, got none: set ERRATA_IMAGES")
        found: dict[str, Path] = {}
        for path in sorted(self._folder.rglob("*")):
            if path.is_file():
                found.setdefault(path.name, path)
                found[str(path.relative_to(self._folder))] = path
        return found

    def open(self, name: str) -> Image.Image:
        """Return an image in RGB; raise ImagesMissing if it isn't there or can't be decoded."""
        path = self._paths.get(name)
        if path is None:
            raise ImagesMissing(f"expected the image {name} below {self._folder}, got no such file")
        try:
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ImagesMissing(
                        f"{name}: expected at most {MAX_PIXELS} pixels, got {image.width} x {image.height}"
                    )
                return image.convert("RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise ImagesMissing(f"{name} can't be decoded: {error!s:.120}") from error

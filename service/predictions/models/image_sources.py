"""Locations of images: files below a folder, or members of a tar file.

timm's reader lists tar files, including nested tar files. This module lists folders itself, because timm's reader
follows links out of them.
"""

import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from errata.errors import ImagesMissing
from timm.data.readers.reader_image_in_tar import extract_tarinfos

from service.predictions.image_files import EXTENSIONS, ImageLocation, index_by_name, list_images


def find_images(path: Path) -> Mapping[str, ImageLocation]:
    """Return the images of a folder or .tar file by every name that identifies one.

    The names of an image are its path, its folder and file name (`wnid/file`), and its bare file name. Names that two
    images share are omitted.

    Raises:
        ImagesMissing: The path is neither a folder nor a .tar file, or has no images.
    """
    if path.is_dir():
        locations = list_images(path)
    elif path.is_file() and path.suffix == ".tar":
        locations = _list_tar(path)
    else:
        raise ImagesMissing(f"No folder of images or .tar file at {path}. Set ERRATA_IMAGES on the worker.")
    if not locations:
        raise ImagesMissing(
            f"No images in {path}. Set ERRATA_IMAGES on the worker to a folder or .tar file with images."
        )
    return index_by_name(locations)


def _list_tar(path: Path) -> Mapping[str, ImageLocation]:
    try:
        samples: Sequence[tuple[tarfile.TarInfo, None, tarfile.TarInfo | None]]
        samples, *_ = extract_tarinfos(str(path), cache_tarinfo=False, extensions=set(EXTENSIONS), sort=False)
    except tarfile.TarError as error:
        raise ImagesMissing(f"The tar file {path} is damaged ({error!s:.120}). Copy it again.") from error
    except ValueError:  # timm raises it for a tar file without images
        return {}
    locations: dict[str, ImageLocation] = {}
    for member, _, parent in samples:
        folder = "" if parent is None else PurePosixPath(parent.name).with_suffix("").as_posix() + "/"
        start = member.offset_data + (0 if parent is None else parent.offset_data)
        locations[PurePosixPath(folder + member.name).as_posix()] = ImageLocation(path, start, member.size)
    return locations

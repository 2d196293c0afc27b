"""Where the bytes of images lie: files below a folder, or members of a tar file.

A folder isn't listed by timm's reader, which follows links out of it; a tar file is, tars within it included.
"""

import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from errata.errors import ImagesMissing
from timm.data.readers.reader_image_in_tar import extract_tarinfos

from service.predictions.image_files import EXTENSIONS, ImageLocation, index_by_name, list_images


def find_images(path: Path) -> Mapping[str, ImageLocation]:
    """Return the images of a folder or .tar file by every name that means one; raise ImagesMissing if there are none.

    Names are an image's path, its folder and file (`wnid/file`), and its bare file name, unless two images have it.
    """
    if path.is_dir():
        result = list_images(path)
    elif path.is_file() and path.suffix == ".tar":
        result = _in_tar(path)
    else:
        raise ImagesMissing(f"expected a folder of images or a .tar file at {path}, got none: set ERRATA_IMAGES")
    if not result:
        raise ImagesMissing(f"expected images in {path}, got none: set ERRATA_IMAGES")
    return index_by_name(result)


def _in_tar(path: Path) -> Mapping[str, ImageLocation]:
    try:
        samples: Sequence[tuple[tarfile.TarInfo, None, tarfile.TarInfo | None]]
        samples, *_ = extract_tarinfos(str(path), cache_tarinfo=False, extensions=set(EXTENSIONS), sort=False)
    except tarfile.TarError as error:
        raise ImagesMissing(f"expected a whole tar file at {path}, got {error!s:.120}") from error
    except ValueError:  # timm's way to say that there are no images
        return {}
    result: dict[str, ImageLocation] = {}
    for member, _, parent in samples:
        inner = "" if parent is None else PurePosixPath(parent.name).with_suffix("").as_posix() + "/"
        start = member.offset_data + (0 if parent is None else parent.offset_data)
        result[PurePosixPath(inner + member.name).as_posix()] = ImageLocation(path, start, member.size)
    return result

"""Thumbnails inside a stand-alone report."""

import base64
from collections.abc import Iterable

from service.analyses.ports import Ports

SIZE = 128  # pixels
MAX_THUMBNAILS = 200
MAX_TOTAL = 5_000_000  # bytes of all thumbnails in the file
_PREFIX = "data:image/jpeg;base64,"


def embed_thumbnails(ports: Ports, dataset: str, names: Iterable[str]) -> dict[str, str]:
    """Return the thumbnails of the first images as data URLs by name, without images that cannot be read.

    Args:
        ports: The ports of the use cases.
        dataset: ID of the data set.
        names: Names of the images, the worst errors first.
    """
    urls: dict[str, str] = {}
    total = 0
    for name in [*dict.fromkeys(names)][:MAX_THUMBNAILS]:
        picture = ports.thumbnails.thumbnail(dataset, name, SIZE)
        if picture is None:
            continue
        url = _PREFIX + base64.b64encode(picture).decode()
        total += len(url)
        if total > MAX_TOTAL:
            break
        urls[name] = url
    return urls

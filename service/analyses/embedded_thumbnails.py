"""Thumbnails inside a stand-alone report."""

from collections.abc import Iterable

from service.analyses.ports import Ports
from service.report.urls import data_url

SIZE = 128  # pixels
MAX_THUMBNAILS = 200
MAX_TOTAL = 5_000_000  # bytes of all thumbnails in the file


def embed_thumbnails(ports: Ports, dataset: str, names: Iterable[str]) -> dict[str, str]:
    """Return the thumbnails of the first images as data URLs, by image name. Unreadable images are omitted.

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
        url = data_url(picture)
        total += len(url)
        if total > MAX_TOTAL:
            break
        urls[name] = url
    return urls

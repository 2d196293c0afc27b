"""URLs of the pictures of a data set's images. service.web.pictures serves them."""

from urllib.parse import quote


def thumbnail_url(dataset: str, name: str, version: str = "") -> str:
    """Return the URL of an image's thumbnail.

    Args:
        dataset: ID of the data set.
        name: Name of the image in the data set.
        version: Version of the image's file; browsers keep the picture at a URL with a version.
    """
    return _url(dataset, "thumbnails", name, version)


def picture_url(dataset: str, name: str, version: str = "") -> str:
    """Return the URL of an image at full size; see `thumbnail_url` for the arguments."""
    return _url(dataset, "pictures", name, version)


def _url(dataset: str, kind: str, name: str, version: str) -> str:
    # Browsers resolve the segments "." and ".." of a path, even if they are percent-encoded. As parts of one segment,
    # with encoded slashes, they stay part of the name.
    safe = "" if {"", ".", ".."} & set(name.split("/")) else "/"
    path = f"/datasets/{quote(dataset, safe='')}/{kind}/{quote(name, safe=safe, errors='replace')}"
    return f"{path}?v={quote(version, safe='')}" if version else path

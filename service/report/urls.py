"""URLs of the pages and pictures of the site, which service.web serves.

Parameters without a value are left out.
"""

import base64
from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

from markupsafe import Markup


def thumbnail_url(dataset: str, name: str, version: str = "") -> str:
    """Return the URL of an image's thumbnail.

    Args:
        dataset: ID of the data set.
        name: Name of the image in the data set.
        version: Version of the image's file; browsers keep the picture at a URL with a version.
    """
    return f"{_dataset_url(dataset)}/thumbnails/{quote_image(name)}{encode_query({'v': version})}"


def picture_url(dataset: str, name: str, version: str = "") -> str:
    """Return the URL of an image at full size; see `thumbnail_url` for the arguments."""
    return f"{_dataset_url(dataset)}/pictures/{quote_image(name)}{encode_query({'v': version})}"


def data_url(jpeg: bytes) -> str:
    """Return a data URL, which contains the picture itself; templates need not escape the URL."""
    return Markup("data:image/jpeg;base64," + base64.b64encode(jpeg).decode())  # noqa: S704 - contains no markup


def image_url(dataset: str, name: str, /, **parameters: str) -> str:
    """Return the URL of the page of an image; with an empty name, the common prefix of these URLs."""
    return f"{_dataset_url(dataset)}/images/{quote_image(name)}{encode_query(parameters)}"


def grid_url(analysis: str, /, **parameters: str) -> str:
    """Return the URL of the grid of an analysis's images."""
    return f"/analyses/{analysis}/images{encode_query(parameters)}"


def comparison_url(a: str, b: str, /, **parameters: str) -> str:
    """Return the URL of the comparison of two analyses."""
    return f"/compare{encode_query({'a': a, 'b': b, **parameters})}"


def review_url(dataset: str, name: str, /, **parameters: str | Sequence[str]) -> str:
    """Return the URL of the page on which an image is reviewed."""
    return f"/review/{quote(dataset, safe='')}/{quote_image(name)}{encode_query(parameters)}"


def queue_url(**parameters: str) -> str:
    """Return the URL of the queue of images to review."""
    return f"/review{encode_query(parameters)}"


def versions_url(dataset: str) -> str:
    """Return the URL of the page of the versions of a data set's evidence."""
    return f"{_dataset_url(dataset)}/evidence"


def changes_url(dataset: str, digest: str) -> str:
    """Return the URL of the page with the changes of a version of the evidence."""
    return f"{versions_url(dataset)}/{digest}"


def evidence_form_url(dataset: str, digest: str, change: str) -> str:
    """Return the target of a form about a version of evidence; `change` is `default` or `judge`."""
    return f"{changes_url(dataset, digest)}/{change}"


def _dataset_url(dataset: str) -> str:
    return f"/datasets/{quote(dataset, safe='')}"


def quote_image(name: str) -> str:
    """Return the name of an image as the end of a path.

    Browsers resolve the segments "." and ".." of a path, even if they are percent-encoded. The slashes of
    a name with such segments are encoded, so that the whole name is one segment.
    """
    safe = "" if {"", ".", ".."} & {*name.split("/")} else "/"
    return quote(name, safe=safe, errors="replace")


def encode_query(parameters: Mapping[str, str | Sequence[str]]) -> str:
    """Return the query of a URL with its question mark; empty if no parameter has a value."""
    filled = {name: value for name, value in parameters.items() if value}
    return f"?{urlencode(filled, doseq=True, errors='replace')}" if filled else ""

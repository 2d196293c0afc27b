"""Links from a report to images with some properties.

A report on the site links to the grid of images, and a stand-alone report to its own error table. Both have the same
parameters, so that nothing else depends on the kind of the report.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from markupsafe import Markup

from service.domain import ALL, ErrorType

ERRORS = "#errors?"  # the error table of the same page, followed by its filters


@dataclass(frozen=True)
class ImageFilter:
    """The properties of images; None or empty: any."""

    error_type: ErrorType | None = None
    target: int | None = None  # effective target
    predicted: int | None = None
    superclass: str = ""  # of the effective target
    group: str = ALL


@dataclass(frozen=True)
class ImageLinks:
    """Creates the links of one report."""

    dataset: str = ""
    analysis: str = ""  # ID of the analysis on the site; empty: a stand-alone file
    class_ids: Sequence[str] = ()  # (C,)

    def images(self, images: ImageFilter) -> str:
        """Return the URL of the images with some properties."""
        values = {
            "type": images.error_type.key if images.error_type is not None else "",
            "class": self._class(images.target),
            "predicted": self._class(images.predicted),
            "superclass": images.superclass,
            "group": images.group if images.group != ALL else "",
        }
        query = urlencode({name: value for name, value in values.items() if value}, quote_via=quote, errors="replace")
        if self.analysis:
            return f"/analyses/{self.analysis}/images{'?' if query else ''}{query}"
        return ERRORS + query

    @property
    def image_base(self) -> str:
        """Return the URL prefix of the pages of images; empty in a stand-alone file."""
        return f"/datasets/{quote(self.dataset, safe='')}/images/" if self.analysis else ""

    @property
    def image_query(self) -> str:
        """Return the query of the pages of images."""
        return f"?analysis={self.analysis}" if self.analysis else ""

    def _class(self, index: int | None) -> str:
        if index is None:
            return ""
        return self.class_ids[index] if self.analysis else str(index)


def link_attributes(url: str) -> Markup:
    """Return the attributes of a link.

    A link to the error table leads to its heading. error_table.js adds the filters, without which the browser would
    look for an element with the whole fragment as its ID.
    """
    if url.startswith(ERRORS):
        return Markup('href="#errors" data-filters="{}"').format(url.removeprefix(ERRORS))
    return Markup('href="{}"').format(url)


def image_url(name: str, base: str, query: str) -> str:
    """Return the URL of the page of an image; `base` and `query` are those of `ImageLinks`.

    Browsers resolve the segments "." and ".." of a path even if they are percent-encoded. The slashes of such a name
    are encoded instead, so that they are no segments.
    """
    safe = "" if {"", ".", ".."} & {*name.split("/")} else "/"
    return f"{base}{quote(name, safe=safe, errors='replace')}{query}"

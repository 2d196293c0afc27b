"""URLs of the grid of an analysis's images and of the pages of images, which carry the query of the grid."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

from service.domain import ALL
from service.domain.images import ImageQuery

PROBLEMATIC = {"include": None, "only": True}  # values of the parameter `problematic`; not set: False


def grid_parameters(query: ImageQuery, class_ids: Sequence[str]) -> dict[str, str]:
    """Return the parameters of a query that differ from their defaults.

    Args:
        query: The query.
        class_ids: IDs of the classes, (C,).
    """
    default = ImageQuery(query.analysis)
    values = {
        "type": query.error_type.key if query.error_type else "",
        "class": "" if query.class_id is None else class_ids[query.class_id],
        "predicted": "" if query.predicted_id is None else class_ids[query.predicted_id],
        "superclass": query.superclass,
        "group": "" if query.group == ALL else query.group,
        "min_confidence": "" if query.min_confidence is None else f"{query.min_confidence:g}",
        "problematic": next((text for text, value in PROBLEMATIC.items() if value is query.problematic), ""),
        "baseline": query.baseline,
        "change": query.change,
        "sort": "" if query.sort == default.sort else query.sort,
        "page": "" if query.page == default.page else str(query.page),
    }
    return {name: value for name, value in values.items() if value}


class ImageUrls:
    """The URLs of one grid.

    Args:
        dataset: ID of the data set.
        class_ids: IDs of the classes, (C,).
        query: The query of the grid.
    """

    def __init__(self, dataset: str, class_ids: Sequence[str], query: ImageQuery) -> None:
        self.dataset = dataset
        self._class_ids = class_ids
        self._query = query
        self._image_query = self._encode({"analysis": query.analysis, **self.parameters(page=1)})

    def parameters(self, **changes: Any) -> dict[str, str]:
        """Return the parameters of the grid with changed fields of its query."""
        return grid_parameters(replace(self._query, **changes), self._class_ids)

    def grid(self, **changes: Any) -> str:
        """Return the URL of the first page of the grid with changed fields of its query, or of `page`."""
        parameters = self.parameters(**{"page": 1, **changes})
        return f"/analyses/{self._query.analysis}/images{self._encode(parameters)}"

    def image(self, name: str) -> str:
        """Return the URL of the page of an image, from which the next image of the grid can be reached."""
        return f"/datasets/{quote(self.dataset, safe='')}/images/{quote_image(name)}{self._image_query}"

    def image_of(self, name: str, analysis: str) -> str:
        """Return the URL of the page of an image for another analysis, without the query of this grid."""
        query = self._encode({"analysis": analysis})
        return f"/datasets/{quote(self.dataset, safe='')}/images/{quote_image(name)}{query}"

    def review(self, name: str) -> str:
        """Return the URL of the review of an image."""
        query = self._encode({"analysis": self._query.analysis})
        return f"/review/{quote(self.dataset, safe='')}/{quote_image(name)}{query}"

    @staticmethod
    def _encode(parameters: dict[str, str]) -> str:
        return f"?{urlencode(parameters, errors='replace')}" if parameters else ""


def quote_image(name: str) -> str:
    """Return the name of an image as the end of a path.

    Browsers resolve the segments "." and ".." of a path. With encoded slashes, they are part of one segment.
    """
    safe = "" if {"", ".", ".."} & set(name.split("/")) else "/"
    return quote(name, safe=safe, errors="replace")

"""URLs of the grid of an analysis's images and of the pages of images, which carry the query of the grid."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from service.domain.images import ImageQuery
from service.report.urls import encode_query, grid_url, image_url, review_url

PROBLEMATIC = {"include": None, "only": True}  # values of the parameter `problematic`; not set: False
ONLY = "only"  # value of the parameter `errors`; not set: False
_NAMES = {  # of parameters, by field of a query
    "error_type": "type",
    "class_id": "class",
    "predicted_id": "predicted",
    "errors_only": "errors",
}
_DEFAULTS = {name: value for name, value in vars(ImageQuery("")).items() if name not in ("analysis", "page_size")}
_TEXTS: Mapping[str, Callable[[Any], str]] = {  # by field; all others are texts
    "error_type": lambda error_type: str(error_type.key),
    "errors_only": lambda _: ONLY,
    "min_confidence": lambda confidence: f"{confidence:g}",
    "problematic": lambda problematic: next(text for text, value in PROBLEMATIC.items() if value is problematic),
}


def grid_parameters(query: ImageQuery, class_ids: Sequence[str] | None) -> dict[str, str]:
    """Return the parameters of a query that differ from their defaults.

    Args:
        query: The query.
        class_ids: IDs of the classes, (C,); None: the parameters are indices of classes.
    """
    return _without_defaults(_to_parameters({name: getattr(query, name) for name in _DEFAULTS}, class_ids))


def _to_parameters(fields: Mapping[str, Any], class_ids: Sequence[str] | None) -> dict[str, str]:
    """Convert fields of a query to URL parameters; a default value becomes an empty text."""
    parameters = {}
    for name, value in fields.items():
        if value == _DEFAULTS[name]:
            text = ""
        elif name in ("class_id", "predicted_id"):
            text = str(value) if class_ids is None else class_ids[value]
        else:
            text = _TEXTS.get(name, str)(value)
        parameters[_NAMES.get(name, name)] = text
    return parameters


def _encode(name: str, text: str) -> str:
    """Return `name=text`, encoded for the query of a URL; empty if the text is empty."""
    return encode_query({name: text}).removeprefix("?")


def _without_defaults(parameters: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in parameters.items() if text}


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
        self._analysis = query.analysis
        self._parameters = _to_parameters({name: getattr(query, name) for name in _DEFAULTS}, class_ids)
        self._encoded = {name: _encode(name, text) for name, text in self._parameters.items()}
        self._url = grid_url(query.analysis)
        self._image_query = encode_query({"analysis": query.analysis, **self.parameters(page=1)})

    def parameters(self, **changes: Any) -> dict[str, str]:
        """Return the parameters of the grid with changed fields of its query."""
        return _without_defaults(self._parameters | _to_parameters(changes, self._class_ids))

    def grid(self, **changes: Any) -> str:
        """Return the URL of the grid with changed fields of its query; the first page, unless `changes` has `page`."""
        changed = _to_parameters({"page": 1, **changes}, self._class_ids)
        parts = self._encoded | {name: _encode(name, text) for name, text in changed.items()}
        query = "&".join(part for part in parts.values() if part)
        return f"{self._url}?{query}" if query else self._url

    def unfiltered(self) -> str:
        """Return the URL of the grid of all images in the same order."""
        return grid_url(self._analysis, sort=self._parameters["sort"])

    def image(self, name: str) -> str:
        """Return the URL of the page of an image; the page links to the next image of the grid."""
        return image_url(self.dataset, name) + self._image_query

    def image_of(self, name: str, analysis: str) -> str:
        """Return the URL of the page of an image for another analysis, without the query of this grid."""
        return image_url(self.dataset, name, analysis=analysis)

    def review(self, name: str) -> str:
        """Return the URL of the review of an image."""
        return review_url(self.dataset, name, analysis=self._analysis)

"""The map of the errors of an analysis, as records for the template."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from errata.messages import format_percentage
from numpy.typing import NDArray

from service.domain import class_name_of
from service.domain.images import ImageQuery, ImageRow
from service.report.direction import isolate
from service.report.elements import css_class
from service.report.image_urls import ImageUrls

WIDTH, HEIGHT, MARGIN = 1000, 700, 12


@dataclass(frozen=True)
class MapDot:
    """An error."""

    x: float
    y: float
    url: str
    css_class: str
    text: str  # name, error type, label, and prediction


@dataclass(frozen=True)
class MapType:
    """An error type on the map."""

    title: str
    css_class: str
    count: int  # dots
    url: str  # of the images with this type


@dataclass(frozen=True)
class ErrorMapView:
    """The content of the page."""

    title: str
    analysis: str
    dots: tuple[MapDot, ...]
    types: tuple[MapType, ...]
    total: int
    share: str
    width: int = WIDTH
    height: int = HEIGHT


@dataclass(frozen=True)
class MapData:
    """The results that a map shows."""

    analysis: str
    title: str
    dataset: str
    class_ids: Sequence[str]
    names: Sequence[str]
    rows: Sequence[ImageRow]
    positions: NDArray[np.float64]  # (n, 2)
    total: int
    share: float


def error_map_view(data: MapData) -> ErrorMapView:
    """Convert a map for display."""
    urls = ImageUrls(data.dataset, data.class_ids, ImageQuery(data.analysis))
    dots = (
        MapDot(x, y, urls.image(row.file_name), css_class(row.error_type), _text(row, data.names))
        for row, (x, y) in zip(data.rows, _scale(data.positions).tolist(), strict=True)
    )
    types = (
        MapType(error_type.title, css_class(error_type), count, urls.grid(error_type=error_type))
        for error_type, count in Counter(row.error_type for row in data.rows).most_common()
    )
    return ErrorMapView(data.title, data.analysis, tuple(dots), tuple(types), data.total, format_percentage(data.share))


def _text(row: ImageRow, names: Sequence[str]) -> str:
    target, predicted = isolate(names[row.effective_target]), isolate(class_name_of(names, row.predicted))
    return f"{isolate(row.file_name)}: {row.error_type.title}, {target} → {predicted}"


def _scale(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale positions to the picture, with the same factor for both axes, (n, 2)."""
    if not len(positions):
        return positions
    low, high = positions.min(axis=0), positions.max(axis=0)
    size = np.array([WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN], dtype=np.float64)
    extent = np.where(high > low, high - low, 1.0)
    factor = float((size / extent).min())
    scaled = (positions - (low + high) / 2) * factor
    return np.asarray(np.round(scaled * [1, -1] + np.array([WIDTH, HEIGHT]) / 2, 1))

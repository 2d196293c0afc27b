"""Elements that several pages share: charts with their description, texts with links, small bars, and properties."""

from collections.abc import Mapping
from dataclasses import dataclass

from errata.messages import format_count
from markupsafe import Markup

from service.domain import TOP1_ERROR_TYPES, ErrorType

NO_URLS: Mapping[ErrorType, str] = {}


@dataclass(frozen=True)
class Chart:
    """A chart and its description for screen readers."""

    svg: Markup
    description: tuple[str, ...]  # sentences


@dataclass(frozen=True)
class LinkedText:
    """A text and the link to its images."""

    text: str
    url: str = ""  # empty: there are none


@dataclass(frozen=True)
class BarSegment:
    """One segment of a small bar, in percent of its width."""

    css_class: str
    x: float
    width: float
    name: str = ""  # on hover
    url: str = ""  # of the images; empty: no link


@dataclass(frozen=True)
class Property:
    """A name and a value, for example a line of the provenance."""

    name: str
    value: str
    url: str = ""  # of a page of the service about it; empty: none


def make_chart(svg: str, *description: str) -> Chart:
    """Return a chart from the SVG of service.report.charts."""
    return Chart(Markup(svg), description)  # noqa: S704 - charts escape all names


def css_class(error_type: ErrorType) -> str:
    """Return the CSS class for the color of an error type."""
    return f"type-{error_type.id}"


def bar_segments(counts: Mapping[ErrorType, int], urls: Mapping[ErrorType, str] = NO_URLS) -> tuple[BarSegment, ...]:
    """Return the top-1 errors by type as segments of a small bar.

    Args:
        counts: Number of images of each type.
        urls: URLs of the images by type; the segments of these types are links with a name.
    """
    total = sum(counts[error_type] for error_type in TOP1_ERROR_TYPES)
    start, segments = 0.0, []
    for error_type in TOP1_ERROR_TYPES:
        width = 100 * counts[error_type] / total if total else 0.0
        if width:
            url = urls.get(error_type, "")
            name = f"{error_type.title}: {format_count(counts[error_type])}" if url else ""
            segments.append(BarSegment(css_class(error_type), round(start, 2), round(width, 2), name, url))
        start += width
    return tuple(segments)

"""Links from a report to the images that meet conditions.

A report on the site links to the grid of images, and a stand-alone report to its own error table. Both have the same
parameters, so that no other code depends on the kind of the report.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from service.domain.images import ImageQuery
from service.report.image_urls import grid_parameters
from service.report.urls import encode_query, grid_url

ERRORS = "#errors"  # the error table of the same page; a query has its filters


@dataclass(frozen=True)
class ImageLinks:
    """Creates the links of one report."""

    analysis: str = ""  # ID of the analysis on the site; empty: a stand-alone file
    class_ids: Sequence[str] = ()  # (C,)

    def images(self, **conditions: Any) -> str:
        """Return the URL of the images that meet conditions; each condition is a field of `ImageQuery`."""
        query = ImageQuery(self.analysis, **conditions)
        if self.analysis:
            return grid_url(self.analysis, **grid_parameters(query, self.class_ids))
        return ERRORS + encode_query(grid_parameters(query, None))


def link_attributes(url: str) -> Markup:
    """Return the attributes of a link.

    A link to the error table leads to the heading of the table, and error_table.js adds the filters. If the URL had the
    filters, a browser would look for an element whose ID is the whole fragment.
    """
    if url.startswith(ERRORS):
        return Markup('href="#errors" data-filters="{}"').format(url.removeprefix(ERRORS).removeprefix("?"))
    return Markup('href="{}"').format(url)

"""Names and links of the marks of a chart. vl_convert draws marks without names and links.

A row of the data has a field `mark`, the result of `name_mark`, and the encoding of the marks contains `NAMED`. The
drawn mark then shows its name on hover and is a link, without a script: by mouse, keyboard, and screen reader.
"""

import html
import re
from collections.abc import Mapping
from typing import Any

from markupsafe import escape

from service.report.image_links import link_attributes

NAMED: Mapping[str, Any] = {"description": {"field": "mark", "type": "nominal"}}
_SEPARATOR = "\n"  # a URL does not contain it
_MARK = re.compile(r'<(path|line) aria-label="([^"]*)"([^>]*?)/>')
_GEOMETRY = re.compile(r' (?:d|transform|x|y|x2|y2|width|height)="[^"]*"')
_NUMBER = re.compile(r"\d+\.\d{4,}")
_ROLES = re.compile(r'(?<=") (?:role="graphics-[a-z]+"|aria-roledescription="[^"]*")')


def name_mark(name: str, url: str = "") -> str:
    """Return the value of the field `mark`.

    Args:
        name: The text on hover, and the accessible name of the link.
        url: The target of the link; empty for a mark that is not a link.

    Returns:
        Both in one text, which `link_marks` splits.
    """
    assert _SEPARATOR not in url, "This is a bug: the URL is not encoded"
    return f"{name}{_SEPARATOR}{url}"


def link_marks(svg: str) -> tuple[str, bool]:
    """Give the marks of a chart from vl_convert their names and links.

    Args:
        svg: The chart. The description of a mark is a result of `name_mark`.

    Returns:
        The chart, and whether it contains a link.
    """
    svg = re.sub(r"<[^>]*>", lambda tag: _ROLES.sub("", tag[0]), svg)
    svg = _GEOMETRY.sub(lambda attribute: _NUMBER.sub(_round, attribute[0]), svg)
    svg = _MARK.sub(_link_mark, svg)
    return svg, "<a href=" in svg


def _round(number: re.Match[str]) -> str:
    return f"{float(number[0]):.3f}".rstrip("0").rstrip(".")


def _link_mark(match: re.Match[str]) -> str:
    tag, text, attributes = match.groups()
    name, _, url = html.unescape(text).rpartition(_SEPARATOR)
    mark = f"<{tag}{attributes}><title>{escape(name)}</title></{tag}>"
    return f"<a {link_attributes(url)}>{mark}</a>" if url else mark

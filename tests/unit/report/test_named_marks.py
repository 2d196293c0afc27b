"""Names and links of marks in drawn charts."""

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from service.report import charts
from service.report.named_marks import NAMED, name_mark

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</title><script>alert(1)</script>\"' &amp; <a href=\n#x>\t☃"


def draw(mark: str | dict[str, Any], *marks: str) -> str:
    rows = [{"x": number, "mark": text} for number, text in enumerate(marks, start=1)]
    x = {"field": "x", "type": "quantitative"}
    return charts.draw({"data": {"values": rows}, "mark": mark, "encoding": {"x": x, **NAMED}})


def links(svg: str) -> list[tuple[str | None, str | None]]:
    """Return (URL, name) of each link."""
    elements = ElementTree.fromstring(svg).iter(f"{SVG}a")
    return [(link.get("href"), link.findtext(f"*/{SVG}title")) for link in elements]


@pytest.mark.parametrize("mark", ["bar", "point", "circle", "rect", "rule"])
def test_each_mark_has_its_name_and_its_link(mark: str) -> None:
    svg = draw(mark, name_mark("one", "/a?b=c&d=%22"), name_mark("two", "/b"))
    assert links(svg) == [("/a?b=c&d=%22", "one"), ("/b", "two")]


def test_link_to_the_error_table_has_its_filters() -> None:
    (link,) = ElementTree.fromstring(draw("bar", name_mark("one", "#errors?type=a&class=7"))).iter(f"{SVG}a")
    assert dict(link.attrib) == {"href": "#errors", "data-filters": "type=a&class=7"}


def test_coordinates_have_at_most_three_decimals() -> None:
    svg = draw("bar", *(name_mark(f"1.23456789 {number}") for number in range(7)))
    assert re.findall(r"\d\.\d{4,}", re.sub("<title>.*?</title>", "", svg)) == []
    assert "1.23456789 6" in svg


def test_mark_without_url_has_a_name_and_is_no_link() -> None:
    svg = draw("point", name_mark("one"), name_mark("two"))
    root = ElementTree.fromstring(svg)
    assert [title.text for title in root.iter(f"{SVG}title")] == ["one", "two"]
    assert links(svg) == []
    assert root.get("aria-hidden") == "true"


def test_chart_with_links_is_not_hidden_from_screen_readers() -> None:
    root = ElementTree.fromstring(draw("bar", name_mark("one", "/a"), name_mark("two")))
    assert root.get("aria-hidden") is None
    texts = [element for element in root.iter() if "mark-text" in element.get("class", "")]
    hidden = [element for group in root.iter() if group.get("aria-hidden") == "true" for element in group.iter()]
    assert texts
    assert all(text in hidden for text in texts)


def test_hostile_name_is_text() -> None:
    svg = draw("bar", name_mark(HOSTILE, "/a"))
    assert links(svg) == [("/a", HOSTILE)]
    assert "<script" not in svg


def test_hostile_name_cannot_set_the_url() -> None:
    assert links(draw("bar", name_mark("x\njavascript:alert(1)"))) == []


def test_url_with_a_line_break_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="not encoded"):
        name_mark("x", "/a\n/b")


def test_roles_of_the_renderer_are_removed() -> None:
    assert re.search("graphics-|roledescription", draw("bar", name_mark("x", "/a"))) is None

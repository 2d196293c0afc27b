"""The report as HTML: hostile names are text, nothing is loaded from anywhere, and every tag is closed."""

import re
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from typing import Any

import pytest

from service.domain import ERROR_TYPES, ErrorType
from service.report.render import render_report
from service.report.view import Bar, ConfusionRow, ErrorRow, Fact, Figure, ReportView, Segment, SourceRow
from service.report.words import ERROR_TYPE_WORDS

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}</title></style>&amp;"
VOID = {"meta", "br", "img", "input", "link", "hr", "rect"}
LOADS = {"src", "href", "srcset", "action", "data", "poster", "background", "formaction", "ping", "xlink:href"}
LOADERS = {
    "script",
    "link",
    "img",
    "iframe",
    "object",
    "embed",
    "audio",
    "video",
    "source",
    "base",
    "form",
    "image",
    "use",
}


class Page(HTMLParser):
    """What a browser would see: tags, attributes, text, and which tags stay open."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.style = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.texts.append(data)


def segments(count: int) -> tuple[Segment, ...]:
    return tuple(
        Segment(each, ERROR_TYPE_WORDS[each].title, "minor", count, str(count), 1 / 7, "14.3 %")
        for each in ERROR_TYPES[1:]
    )


def view(**changes: Any) -> ReportView:
    error = ErrorRow("x.jpg", "goldfish", "tench", "fine-grained", "minor", "87.5 %", ("odd",), ("a",), ("b",), ("c",))
    whole = ReportView(
        title="net",
        headline="net is wrong on 7 of 9 images.",
        figures=(Figure("top-1 accuracy", "60.0 %", "how it is read"),),
        bars=(Bar("all images", "9", 7, "7", "22.2 %", "50.0 %", segments(1)),),
        abstained=("CLIP was away.",),
        warnings=("careful",),
        confusions=(ConfusionRow("goldfish", "tench", "3", "3 fine-grained"),),
        errors=(error,),
        errors_total=25,
        provenance=(Fact("data set", "demo"),),
        sources=(SourceRow("ReaL", "https://example.org/real", "Apache-2.0"),),
    )
    return replace(whole, **changes)


def poisoned(value: Any) -> Any:
    """Return the same record with every text of it hostile."""
    if isinstance(value, str):
        return HOSTILE
    if isinstance(value, tuple):
        return tuple(poisoned(each) for each in value)
    if is_dataclass(value):
        return replace(value, **{each.name: poisoned(getattr(value, each.name)) for each in fields(value)})  # type: ignore[type-var]
    return value


def test_every_tag_is_closed_and_the_page_says_what_it_is() -> None:
    html = render_report(view())
    page = Page(html)

    assert html.startswith("<!doctype html>")
    assert page.open == []
    assert ("html", "lang", "en") in page.attributes
    assert ("meta", "charset", "utf-8") in page.attributes


def test_everything_of_the_view_is_shown() -> None:
    text = " ".join(Page(render_report(view())).texts)

    for shown in (
        "net is wrong on 7 of 9 images.",
        "60.0 %",
        "how it is read",
        "CLIP was away.",
        "careful",
        "3 fine-grained",
        "x.jpg",
        "87.5 %",
        "1 of 25 errors",
        "https://example.org/real",
        "Apache-2.0",
    ):
        assert shown in text


def test_every_error_type_stands_in_the_legend_with_its_sentence() -> None:
    text = " ".join(Page(render_report(view())).texts)

    for each in ERROR_TYPES[1:]:
        assert ERROR_TYPE_WORDS[each].title in text
        assert ERROR_TYPE_WORDS[each].sentence in text


def test_hostile_names_are_text_wherever_they_stand() -> None:
    page = Page(render_report(poisoned(view())))
    clean = Page(render_report(view()))

    assert page.open == []
    assert page.tags == clean.tags
    assert {(tag, name) for tag, name, _ in page.attributes} == {(tag, name) for tag, name, _ in clean.attributes}
    assert page.style == clean.style
    texts = " ".join(page.texts)
    assert HOSTILE in texts
    assert "49" not in texts, "a name was run as a template"


@pytest.mark.parametrize("poison", [False, True])
def test_the_page_loads_nothing_and_runs_nothing(poison: bool) -> None:
    html = render_report(poisoned(view()) if poison else view())
    page = Page(html)

    assert not page.tags & LOADERS
    assert not [each for each in page.attributes if each[1] in LOADS]
    assert not [each for each in page.attributes if each[1].startswith("on")]
    assert not re.findall(r"url\(|@import|expression\(", page.style)
    assert not re.findall(r"https?:", page.style)


def test_a_browser_is_told_to_load_nothing_either() -> None:
    policy = [
        value for tag, name, value in Page(render_report(view())).attributes if (tag, name) == ("meta", "content")
    ]

    assert any("default-src 'none'" in value and "script-src" not in value for value in policy)


def test_without_errors_the_page_says_so() -> None:
    empty = view(
        errors=(),
        errors_total=0,
        confusions=(),
        abstained=(),
        warnings=(),
        bars=(),
        sources=(),
        provenance=(),
        figures=(),
    )
    page = Page(render_report(empty))

    assert page.open == []
    assert any("There is none." in text for text in page.texts)
    assert not any("confusions" in text for text in page.texts)


def test_where_all_errors_are_shown_the_page_says_all() -> None:
    text = " ".join(Page(render_report(view(errors=view().errors * 2, errors_total=2))).texts)

    assert "All 2 errors" in text


def test_an_error_type_has_one_color_that_the_style_knows() -> None:
    page = Page(render_report(view()))
    used = {name for _, attribute, value in page.attributes if attribute == "class" for name in value.split()}

    for each in ERROR_TYPES[1:]:
        assert f"type-{int(each)}" in used
        assert f".type-{int(each)}" in page.style
    assert ErrorType.CORRECT not in {int(name[5:]) for name in used if name.startswith("type-")}


def test_a_picture_says_in_words_what_it_shows() -> None:
    page = Page(render_report(view()))

    labels = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert labels
    assert all("errors" in label for label in labels)


def test_the_same_view_gives_the_same_bytes() -> None:
    assert render_report(view()) == render_report(view())

"""The grid of images and the pages of images in a browser: from a filter to an image to the next one."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from .conftest import HOSTILE_FILE, SCREENSHOTS, OpenPage, Site, hidden_width, open_page, wait_for_pictures

SCHEMES = ("light", "dark")
WIDTHS = (420, 1300)


@contextmanager
def open_grid(chromium: Browser, site: Site, query: str = "", **options: Any) -> Iterator[OpenPage]:
    with open_page(chromium, f"{site.url}/{site.analysis.name}/images{query}", **options) as view:
        yield view


def counted(page: Page) -> int:
    """Return the number of images that the grid announces."""
    return int(page.inner_text("[role=status]").rsplit(" ", 1)[1].replace(",", ""))


def count_beside(page: Page, link: str) -> int:
    return int(page.locator(f".facets li:has({link}) .count").inner_text().replace(",", ""))


def without_missing_pictures(view: OpenPage) -> list[str]:
    """Return the messages about the page itself."""
    return [message for message in view.messages if "404" not in message]


@pytest.mark.parametrize("script", [True, False])
def test_a_facet_filters_by_the_count_beside_it(chromium: Browser, site: Site, script: bool) -> None:
    with open_grid(chromium, site, java_script_enabled=script) as view:
        page = view.page
        total = counted(page)
        link = page.locator("#error_type-8")
        expected = count_beside(page, "#error_type-8")
        assert 0 < expected < total
        link.click()
        page.wait_for_url("**/images?type=model_failure")
        expect(page.locator(".image-grid li").first).to_contain_text("model failure")
        assert counted(page) == expected

        page.get_by_role("link", name="error type: model failure").click()
        page.wait_for_url("**/images")
        assert counted(page) == total
        assert view.messages == []


def test_htmx_swaps_the_grid_and_the_history_restores_it(chromium: Browser, site: Site) -> None:
    with open_grid(chromium, site) as view:
        page = view.page
        page.evaluate("window.isSamePage = true")
        total = counted(page)
        page.locator("#group-organism").focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/images?group=organism")
        expect(page.locator("#group-organism")).to_have_attribute("aria-current", "true")
        assert page.evaluate("window.isSamePage"), "only the grid was replaced"
        assert page.evaluate("document.activeElement.id") == "group-organism", "the focus stays"
        assert counted(page) < total
        page.go_back()
        page.wait_for_url("**/images")
        expect(page.locator("#group-organism")).not_to_have_attribute("aria-current", "true")
        assert counted(page) == total
        assert view.messages == []


@pytest.mark.parametrize(
    ("query", "pressed", "focused"),
    [
        ("?type=model_failure&group=organism", "#filter-type", "images [role=status]"),
        ("?type=model_failure&group=organism", "#no-filters", "images [role=status]"),
        ("?sort=class", "#show", "show"),
        ("", "#next-page", "next-page"),
        ("", "#last-page", "images [role=status]"),
        ("?page=3", "#first-page", "images [role=status]"),
    ],
)
def test_the_focus_stays_in_the_grid(chromium: Browser, site: Site, query: str, pressed: str, focused: str) -> None:
    with open_grid(chromium, site, query) as view:
        page = view.page
        if pressed == "#show":
            page.select_option("select[name=sort]", "confidence")
        before = page.url
        page.locator(pressed).focus()
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url: url != before)
        expect(page.locator(f"#{focused}")).to_be_focused()
        assert view.messages == []


def test_the_last_of_two_quick_clicks_counts(chromium: Browser, site: Site) -> None:
    with open_grid(chromium, site) as view:
        page = view.page
        held: list[Route] = []
        page.route("**/images?type=*", lambda route: held.append(route))
        for error_type in ("model_failure", "class_overlap"):
            page.locator(f".facets a[href$='?type={error_type}']").click()
        page.wait_for_timeout(200)
        for route in held:
            route.continue_()
            page.wait_for_timeout(500)  # the first response arrives, if its request was not ended
        page.wait_for_url("**/images?type=class_overlap")
        expect(page.locator(".chip")).to_have_text(re.compile("class overlap"))


def test_the_form_sorts_and_keeps_the_filters(chromium: Browser, site: Site) -> None:
    with open_grid(chromium, site, "?type=fine_grained") as view:
        page = view.page
        page.select_option("[name=sort]", "confidence")
        page.select_option("[name=min_confidence]", "0.5")
        page.locator("form:has([name=sort]) button").click()
        page.wait_for_url("**min_confidence=0.5**")
        parameters = parse_qs(urlsplit(page.url).query)
        assert parameters == {"type": ["fine_grained"], "sort": ["confidence"], "min_confidence": ["0.5"]}
        shown = [float(text) for text in re.findall(r"([\d.]+)\s%", page.inner_text(".image-grid"))]
        assert len(shown) == 60 and shown == sorted(shown) and shown[0] >= 50


def test_a_class_that_is_not_listed_is_found_by_its_name(chromium: Browser, site: Site) -> None:
    with open_grid(chromium, site) as view:
        page = view.page
        page.fill(".facets [name=class]", "tabby")
        page.keyboard.press("Enter")
        page.wait_for_url("**class=tabby")
        assert counted(page) > 0
        assert page.locator(".facets a[aria-current]").inner_text() == "tabby"


def test_an_error_after_a_click_has_its_page(chromium: Browser, site: Site) -> None:
    with open_grid(chromium, site) as view:
        page = view.page
        page.fill(".facets [name=predicted]", "no such class")
        page.keyboard.press("Enter")
        page.wait_for_url("**predicted=**")
        assert "Unknown class 'no such class'" in page.inner_text("main")


def test_a_filtered_image_opens_and_arrow_keys_lead_to_the_next_one(chromium: Browser, site: Site) -> None:
    with open_grid(chromium, site, "?type=fine_grained&sort=class") as view:
        page = view.page
        names = page.locator(".image-grid input").evaluate_all("boxes => boxes.map(box => box.value)")
        page.locator(".image-grid li > a").nth(1).click()
        page.wait_for_url(f"**/images/{names[1]}?**")
        assert page.inner_text("h1") == names[1]
        assert "Image 2 of" in page.inner_text(".pager")
        page.keyboard.press("ArrowRight")
        page.wait_for_url(f"**/images/{names[2]}?**")
        page.keyboard.press("Control+ArrowRight")  # belongs to the browser
        page.keyboard.press("ArrowLeft")
        page.wait_for_url(f"**/images/{names[1]}?**")
        page.keyboard.press("ArrowLeft")
        page.wait_for_url(f"**/images/{names[0]}?**")
        assert page.get_by_role("link", name="Previous image").count() == 0
        page.get_by_role("link", name="Next image").click()
        page.wait_for_url(f"**/images/{names[1]}?**")
        page.get_by_role("link", name="Back to the images").click()
        page.wait_for_url("**/images?type=fine_grained&sort=class")
        assert view.messages == []


def test_the_image_page_links_to_other_analyses_and_to_the_review(chromium: Browser, site: Site) -> None:
    first, second = (item.name.removeprefix("analyses/") for item in (site.analysis, site.other))
    with open_grid(chromium, site, "?type=model_failure", java_script_enabled=False) as view:
        page = view.page
        page.locator(".image-grid li > a").first.click()
        name = page.inner_text("h1")
        review = page.get_by_role("navigation", name="Images").get_by_role("link", name="Review").get_attribute("href")
        assert review == f"/review/imagenet-real/{name}?analysis={first}"
        page.get_by_role("link", name="second", exact=True).click()
        assert page.inner_text("h1") == name
        assert (
            page.locator("nav.site").get_by_role("link", name="second").get_attribute("href") == f"/analyses/{second}"
        )
        assert page.locator("tbody").inner_text().startswith("first")


def test_selected_images_are_sent_to_the_review(chromium: Browser, site: Site) -> None:
    with open_grid(chromium, site, "?type=model_failure") as view:
        page = view.page
        boxes = page.locator(".image-grid input")
        names = [boxes.nth(index).get_attribute("value") for index in (0, 2)]
        for index in (0, 2):
            boxes.nth(index).check()
        page.get_by_role("button", name="Review selected images").click()
        page.wait_for_url(f"**/review/imagenet-real/{names[0]}?**")
        assert parse_qs(urlsplit(page.url).query) == {
            "analysis": [site.analysis.name.removeprefix("analyses/")],
            "selection": ["1"],
            "next": names[1:],
        }


def test_pictures_are_shown_in_the_grid_and_on_the_page(chromium: Browser, site: Site) -> None:
    picture = b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><rect width="64" height="64"/></svg>'
    requested: list[str] = []

    def answer(route: Route) -> None:
        requested.append(urlsplit(route.request.url).path)
        route.fulfill(body=picture, content_type="image/svg+xml")

    with open_page(chromium, "about:blank") as view:
        page = view.page
        page.route(re.compile("/datasets/demo/(thumbnails|pictures)/"), answer)
        page.goto(f"{site.url}/{site.demo.name}/images")
        wait_for_pictures(*page.locator("img").all()[:5])
        link = page.locator(".image-grid li > a").first
        name = link.locator("img").get_attribute("alt")
        source = link.locator("img").get_attribute("src")
        assert name is not None and source is not None
        is_cached = source.startswith("data:image/jpeg;base64,")  # by another test
        assert is_cached or f"/datasets/demo/thumbnails/{name.removeprefix('image ')}" in requested
        link.click()
        wait_for_pictures(page.locator(".inspection img"))
        assert f"/datasets/demo/pictures/{name.removeprefix('image ')}" in requested
        assert page.locator(".inspection img").evaluate("image => image.width") == 256  # small pictures are enlarged


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_pages_are_accessible_and_fit_the_window(chromium: Browser, site: Site, scheme: str, width: int) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
    baseline = site.other.name.removeprefix("analyses/")
    with open_grid(chromium, site, f"?group=organism&baseline={baseline}&change=broken", **options) as view:
        page = view.page
        for name in ("images", "image"):
            assert view.violations() == [], name
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            page.screenshot(path=SCREENSHOTS / f"{name}-{scheme}-{width}.png", full_page=True)
            assert without_missing_pictures(view) == []
            if name == "image":
                assert hidden_width(page.locator(".cards")) == 0, "a column of the other analyses is clipped"
            else:
                page.locator(".image-grid li > a").first.click()
                page.wait_for_url("**/datasets/**")


def test_hostile_names_are_text(chromium: Browser, site: Site) -> None:
    with open_page(chromium, f"{site.url}/{site.hostile.name}/images") as view:
        page = view.page
        page.get_by_role("link", name=HOSTILE_FILE).click()
        page.wait_for_url("**/datasets/street/**")
        assert page.inner_text("h1") == HOSTILE_FILE
        page.locator(".pager a[rel]").first.click()
        page.wait_for_url("**/plain.jpg?**")
        page.locator(".pager a[rel]").first.click()
        expect(page.locator("h1")).to_have_text(HOSTILE_FILE, timeout=30_000)
        assert page.evaluate("window.hacked") is None
        assert view.messages == []

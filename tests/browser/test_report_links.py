"""From a chart or a table to images: the grid on the site, the error table in a file; and the table of contents."""

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from errata.errors import InvalidRequest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from service.domain import TOP1_ERROR_TYPES, ErrorType
from service.evidence.bundle import Bundle
from service.rules.table import error_types

from .conftest import SCREENSHOTS, OpenPage, Site, open_page, wait_for_pictures
from .test_report import count

MENU = ".contents > details"
LIST = ".contents > ul"


def row_of(page: Page, name: str, chart: str = "breakdown") -> str:
    """Return the selector of the link with a name in a chart."""
    return f'section[aria-labelledby={chart}] .picture a:has([aria-label^="{name}"]), ' + (
        f'section[aria-labelledby={chart}] .picture a[aria-label^="{name}"]'
    )


def shown(number: int) -> re.Pattern[str]:
    """Return a pattern of the line above the table for a number of errors. A link changes the line some time later."""
    return re.compile(rf" of {number:,}$")


@pytest.fixture(scope="module")
def types(site: Site, imagenet_real: Bundle) -> np.ndarray:
    """The error type of each judged image; 0 for problematic images, (N,)."""
    rows = np.arange(len(imagenet_real.rows))
    ids = error_types(imagenet_real.verdicts[rows, site.top1[imagenet_real.rows]])
    return np.where(imagenet_real.evidence.problematic, 0, ids)


@pytest.fixture
def report(chromium: Browser, site: Site) -> Iterator[OpenPage]:
    """The stand-alone report without a network."""
    with open_page(chromium, site.report.as_uri(), offline=True) as view:
        yield view
        assert view.messages == []
        assert all(request.startswith("file:") for request in view.requests)


def test_bar_on_the_site_links_to_the_grid(chromium: Browser, site: Site) -> None:
    url = f"{site.url}/{site.analysis.name}"
    with open_page(chromium, url) as view:
        page = view.page
        page.click(row_of(page, "all images, model failure"))
        page.wait_for_url(f"{url}/images?type=model_failure")
        page.go_back()
        page.click(row_of(page, "organisms, fine-grained"))
        page.wait_for_url(f"{url}/images?type=fine_grained&group=organism")
        page.go_back()
        link = page.locator(row_of(page, "multi-label accuracy, model failure", "gains")).first
        link.focus()
        page.keyboard.press("Enter")
        page.wait_for_url(f"{url}/images?type=model_failure")


def test_small_bars_severities_and_bins_on_the_site_link_to_the_grid(chromium: Browser, site: Site) -> None:
    url = f"{site.url}/{site.analysis.name}"
    with open_page(chromium, url) as view:
        page = view.page
        segment = page.locator("#superclass-table tbody tr").first.locator("svg.bar a").last
        assert segment.get_attribute("tabindex") == "-1", "the table beside it has the link for the keyboard"
        title, count = segment.locator("title").text_content().split(": ")  # type: ignore[union-attr]
        segment.click()
        page.wait_for_url(f"{url}/images?type=*superclass=*")
        expect(page.locator("main [role=status]").first).to_have_text(shown(int(count.replace(",", ""))))
        expect(page.locator(".image-grid li").first).to_contain_text(title)
        page.goto(url)
        page.get_by_role("row", name="label noise").get_by_role("link", name="class overlap").click()
        page.wait_for_url(f"{url}/images?type=class_overlap")
        page.goto(url)
        page.locator("section[aria-labelledby=calibration] .picture a").last.click()
        page.wait_for_url(f"{url}/images?min_confidence=*&sort=confidence")
        bound = float(page.locator("[name=min_confidence]").last.input_value())
        first = re.search(r"([\d.]+)\s%", page.locator(".image-grid li").first.inner_text())
        assert first is not None and abs(float(first[1]) / 100 - bound) < 0.01


def test_tables_on_the_site_link_to_the_grid(chromium: Browser, site: Site, imagenet_real: Bundle) -> None:
    ids = imagenet_real.label_space.ids
    base = f"/{site.analysis.name}/images"
    with open_page(chromium, f"{site.url}/{site.analysis.name}", java_script_enabled=False) as view:
        page = view.page
        urls = page.eval_on_selector_all("main a", "links => links.map(link => link.getAttribute('href'))")
        assert {url.split("?")[0] for url in urls if "/images" in url and "/datasets/" not in url} == {base}
        for name in imagenet_real.manifest.superclasses[:3]:
            assert any(url.startswith(f"{base}?type=") and url.endswith(f"superclass={name}") for url in urls)
        confusions = page.locator("section[aria-labelledby=confusions] > .wide tbody a")
        pattern = rf"{re.escape(base)}\?class=({'|'.join(ids)})&predicted=({'|'.join(ids)})&errors=only"
        assert confusions.count() == 25
        links = {link.get_attribute("href") or "": link.text_content() for link in confusions.all()}
        assert all(re.fullmatch(pattern, url) for url in links)
        for url, count in [*links.items()][:5]:
            page.goto(f"{site.url}{url}")
            expect(page.locator("main [role=status]").first).to_have_text(re.compile(rf" of {count}$"))


def test_bar_in_a_file_sets_the_filters_and_scrolls_to_the_table(
    report: OpenPage, types: np.ndarray, imagenet_real: Bundle
) -> None:
    page = report.page
    organisms = imagenet_real.arrays["groups"][0]
    for name, kind, mask in (
        ("all images, model failure", ErrorType.MODEL_FAILURE, True),
        ("organisms, fine-grained", ErrorType.FINE_GRAINED, organisms),
        ("all images, class overlap", ErrorType.CLASS_OVERLAP, True),  # a bar of about a pixel
    ):
        page.click(row_of(page, name))
        expect(page.locator("#errors-filters [name=type]")).to_have_value(kind.key)
        expect(page.locator("#errors-count")).to_have_text(shown(((types == kind.id) & mask).sum()))
        assert 0 <= page.locator("#errors").bounding_box()["y"] < 200  # type: ignore[index]
    assert page.input_value("#errors-filters [name=group]") == ""
    page.go_back()
    assert page.input_value("#errors-filters [name=group]") == "organism"


def test_bar_in_a_file_works_by_keyboard(report: OpenPage, types: np.ndarray) -> None:
    page = report.page
    link = page.locator(row_of(page, "all images, spurious correlation")).first
    link.focus()
    tip = page.locator(".tip")
    expect(tip).to_be_visible()
    assert tip.inner_text().startswith("all images, spurious correlation: ")
    page.keyboard.press("Enter")
    expected = (types == ErrorType.SPURIOUS_CORRELATION.id).sum()
    expect(page.locator("#errors-count")).to_have_text(shown(expected))
    expect(page.locator("#errors-count")).to_be_focused()


def test_names_of_bars_are_visible_on_hover_and_names_of_links(report: OpenPage, types: np.ndarray) -> None:
    page = report.page
    expected = f"{(types == ErrorType.MODEL_FAILURE.id).sum():,}"
    link = page.get_by_role("link", name=f"all images, model failure: {expected}")
    assert link.count() == 1
    link.hover()
    tip = page.locator(".tip")
    expect(tip).to_be_visible()
    assert tip.inner_text().startswith(f"all images, model failure: {expected} (")
    box = tip.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 1200
    page.mouse.move(5, 5)
    expect(tip).to_be_hidden()


def test_links_of_tables_in_a_file_show_as_many_errors_as_they_say(report: OpenPage) -> None:
    page = report.page
    page.evaluate("for (const box of document.querySelectorAll('main details')) box.open = true")
    links = page.locator("main table td > a[data-filters]")
    assert links.count() > 100
    for index in range(0, links.count(), 37):
        link = links.nth(index)
        expected = link.inner_text().split()[0].replace(",", "")
        filters = link.get_attribute("data-filters")
        link.click()
        expect(page.locator("#errors-count"), filters).to_have_text(shown(int(expected)))


def test_link_without_javascript_leads_to_the_errors(chromium: Browser, site: Site) -> None:
    with open_page(chromium, site.report.as_uri(), java_script_enabled=False, offline=True) as view:
        page = view.page
        page.locator("section[aria-labelledby=breakdown] .picture a").last.click()
        assert page.url.endswith("#errors")
        assert 0 <= page.locator("#errors").bounding_box()["y"] < 200  # type: ignore[index]
        assert page.locator("#errors-static > .errors > details").first.is_visible()
        title = page.locator("section[aria-labelledby=breakdown] .picture a title").first
        assert (title.text_content() or "").startswith("all images, ")


def test_hash_with_unknown_values_is_no_error(chromium: Browser, site: Site) -> None:
    fragment = "#errors?type=zzz&class=9999&predicted=x&superclass=%22%3Cb%3E&group=nothing&page=-3&sort=constructor"
    with open_page(chromium, site.report.as_uri() + fragment) as view:
        assert view.page.inner_text("#errors-count") == "No errors match the filters."
        view.page.click("#errors-reset")
        assert count(view.page.inner_text("#errors-count")) == 10_000
        assert view.messages == []


def test_heat_map_agrees_with_its_table_and_with_the_errors(report: OpenPage) -> None:
    page = report.page
    section = "section[aria-labelledby=confusions]"
    cells = page.locator(f"{section} .picture a")
    rows = page.locator(f"{section} details tbody tr")
    assert cells.count() == rows.count() > 3
    names = cells.evaluate_all("links => links.map(link => link.getAttribute('aria-label'))")
    page.locator(f"{section} details").first.evaluate("box => box.open = true")
    texts = [row.locator("th, td").all_inner_texts() for row in rows.all()]
    assert names == [f"{target} → {predicted}: {number}" for target, predicted, number in texts]
    cells.first.click()
    expected = dict(zip(("class", "predicted"), texts[0][:2], strict=True))
    for name, text in expected.items():
        selected = page.locator(f"#errors-filters [name={name}] option:checked")
        expect(selected).to_have_text(text)
    assert count(page.inner_text("#errors-count")) >= int(texts[0][2])


@pytest.mark.parametrize("width", [1300, 2560])
def test_contents_stay_beside_the_text(chromium: Browser, site: Site, width: int) -> None:
    for url in (site.report.as_uri(), f"{site.url}/{site.analysis.name}"):
        with open_page(chromium, url, viewport={"width": width, "height": 900}) as view:
            page = view.page
            assert not page.locator(MENU).is_visible()
            links = page.locator(f"{LIST} a")
            sections = page.locator("main > section > h2")
            assert links.count() == 1 + sections.count()
            page.locator(f"{LIST} a[href='#calibration']").click()
            box, main = page.locator(LIST).bounding_box(), page.locator("main").bounding_box()
            assert box is not None
            assert main is not None
            assert 0 <= box["y"] < 100
            assert box["x"] + box["width"] <= main["x"]
            assert page.locator(f"{LIST} a[aria-current]").all_inner_texts() == ["Calibration"]
            assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [420, 1300])
def test_report_fits_and_is_accessible(chromium: Browser, site: Site, width: int, scheme: str) -> None:
    for kind, url in (("file", site.report.as_uri()), ("page", f"{site.url}/{site.analysis.name}")):
        viewport = {"width": width, "height": 900}
        with open_page(chromium, url, viewport=viewport, color_scheme=scheme) as view:
            view.page.evaluate("for (const box of document.querySelectorAll('main .more')) box.open = true")
            assert view.page.evaluate("document.documentElement.scrollWidth") <= width
            SCREENSHOTS.mkdir(parents=True, exist_ok=True)
            view.page.screenshot(path=SCREENSHOTS / f"report-{kind}-{width}-{scheme}.png")
            assert view.violations() == []


def test_contents_are_a_menu_in_a_narrow_window(chromium: Browser, site: Site) -> None:
    with open_page(chromium, site.report.as_uri(), viewport={"width": 420, "height": 800}) as view:
        page = view.page
        assert not page.locator(LIST).is_visible()
        page.mouse.wheel(0, 3000)
        page.locator(f"{MENU} summary").click()
        page.screenshot(path=SCREENSHOTS / "report-menu-420.png")
        page.locator(f"{MENU} a[href='#provenance']").click()
        assert page.get_attribute(MENU, "open") is None
        heading, menu = page.locator("#provenance").bounding_box(), page.locator(MENU).bounding_box()
        assert heading is not None
        assert menu is not None
        assert menu["y"] < 10
        assert menu["y"] + menu["height"] <= heading["y"] < 800
        page.locator(f"{MENU} summary").focus()
        page.keyboard.press("Enter")
        page.locator(f"{MENU} a").first.focus()
        page.keyboard.press("Escape")
        assert page.get_attribute(MENU, "open") is None


def test_contents_work_without_javascript(chromium: Browser, site: Site) -> None:
    viewport = {"width": 420, "height": 800}
    with open_page(chromium, site.report.as_uri(), java_script_enabled=False, viewport=viewport) as view:
        view.page.locator(f"{MENU} summary").click()
        view.page.locator(f"{MENU} a[href='#errors']").click()
        assert view.page.url.endswith("#errors")


def test_contents_keep_the_filters(report: OpenPage, types: np.ndarray) -> None:
    page = report.page
    page.click(row_of(page, "all images, model failure"))
    expect(page.locator("#errors-count")).to_have_text(shown((types == ErrorType.MODEL_FAILURE.id).sum()))
    before = page.inner_text("#errors-count")
    page.locator(f"{LIST} a[href='#breakdown']").click()
    page.locator(f"{LIST} a[href='#errors']").click()
    assert page.inner_text("#errors-count") == before


def test_thumbnails_are_embedded_on_request(chromium: Browser, site: Site, tmp_path: Path) -> None:
    client = site.running.client
    plain, content = client.report(site.demo.name), client.report(site.demo.name, thumbnails=True)
    urls = re.findall(rb"data:image/jpeg;base64,([\w+/=]+)", content)
    errors = sum(site.demo.summary.groups["all"].counts[kind.key] for kind in TOP1_ERROR_TYPES)
    assert b"data:image" not in plain
    assert len(urls) == min(200, errors) > 0
    assert len(content) - len(plain) < 5_000_000
    for url in urls:
        with Image.open(io.BytesIO(base64.b64decode(url))) as picture:
            assert max(picture.size) == 128
    file = tmp_path / "report.html"
    file.write_bytes(content)
    with open_page(chromium, file.as_uri(), offline=True) as view:
        page = view.page
        page.locator("#errors-table tbody button").first.click()
        wait_for_pictures(page.locator(".opened img"))
        assert [request for request in view.requests if not request.startswith("data:")] == [file.as_uri()]
        assert view.messages == []
        assert view.violations() == []
    with open_page(chromium, file.as_uri(), offline=True, java_script_enabled=False) as view:
        view.page.locator("#errors-static summary").first.click()
        assert view.page.locator("#errors-static img").first.is_visible()


def test_thumbnails_need_images_of_the_data_set(site: Site) -> None:
    with pytest.raises(InvalidRequest, match="no images of data set 'imagenet-real'"):
        site.running.client.report(site.analysis.name, thumbnails=True)

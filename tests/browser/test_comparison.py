"""The page of a comparison in a browser: matrix, grids, and filters."""

import io
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page

from service.domain import CORRECT_TYPES, ERROR_TYPES
from service.evidence.bundle import Bundle

from .conftest import HOSTILE, SCREENSHOTS, Site, open_page

SIZES = [(320, "light"), (420, "light"), (420, "dark"), (1300, "light"), (1300, "dark")]


def compare(site: Site, **filters: str) -> str:
    a, b = (item.name.removeprefix("analyses/") for item in (site.analysis, site.other))
    return f"{site.url}/compare?a={a}&b={b}" + "".join(f"&{name}={value}" for name, value in filters.items())


def target_names(page: Page, grid: str) -> list[str]:
    """Return the ground truth of each image of a grid."""
    lines = page.locator(f"section[aria-labelledby={grid}] .image-grid p:nth-of-type(2)").all_inner_texts()
    return [line.removeprefix("ground truth:").strip() for line in lines]


@pytest.fixture(scope="module")
def demo_pair(site: Site, demo: Bundle) -> tuple[str, str]:
    """Two analyses of data with pictures: A has errors in 14 photographs, which B corrects."""
    targets = demo.all_targets.tolist()
    names = []
    for wrong, title in ((14, "old"), (0, "new")):
        predicted = [(value + 333) % 1000 if row < wrong else value for row, value in enumerate(targets)]
        rows = [f"{name},{value}\n" for name, value in zip(demo.judged_names, predicted, strict=True)]
        content = io.BytesIO(("file_name,top1\n" + "".join(rows)).encode())
        names.append(site.running.client.upload(content, "demo", display_name=title).name.removeprefix("analyses/"))
    return names[0], names[1]


def test_cell_of_the_matrix_leads_to_the_images_with_the_transition(chromium: Browser, site: Site) -> None:
    with open_page(chromium, compare(site)) as view:
        page = view.page
        row = page.locator(".matrix tbody tr", has=page.get_by_role("rowheader", name="model failure", exact=True))
        link = row.locator("td a").first
        count = int(link.inner_text().replace(",", ""))
        url = urlsplit(link.get_attribute("href") or "")
        a, b = (item.name.removeprefix("analyses/") for item in (site.analysis, site.other))
        assert url.path == f"/analyses/{b}/images"
        assert parse_qs(url.query) == {"baseline": [a], "change": ["model_failure:correct"]}
        link.focus()
        assert page.evaluate("document.activeElement.getAttribute('href')") == link.get_attribute("href")
    with open_page(chromium, compare(site, change="model_failure:correct")) as view:
        assert view.page.inner_text("#transition") == f"model failure → top-1 correct: {count}"


def test_interval_of_an_error_type_leads_to_the_images_of_b(chromium: Browser, site: Site) -> None:
    a, b = (item.name.removeprefix("analyses/") for item in (site.analysis, site.other))
    with open_page(chromium, compare(site)) as view:
        page = view.page
        totals = page.locator(".matrix tbody tr").last.locator("td").all_inner_texts()
        links = page.locator("section[aria-labelledby=tests] figure a")
        types = [parse_qs(urlsplit(link.get_attribute("href") or "").query)["type"][0] for link in links.all()]
        assert types[0] == "model_failure"
        assert {*types} == {
            error_type.key
            for error_type, total in zip(ERROR_TYPES, totals, strict=False)
            if error_type.key != "correct" and total not in ("0", "–")
        }
        links.first.click()
        page.wait_for_url(f"{site.url}/analyses/{b}/images?type=model_failure&baseline={a}")
        assert page.inner_text("[role=status]").endswith(f" of {totals[-2]}")
        assert "before: " in page.inner_text(".image-grid li")


def test_grids_show_both_predictions(chromium: Browser, site: Site) -> None:
    with open_page(chromium, compare(site)) as view:
        page = view.page
        assert page.locator("section[aria-labelledby=fixed] .image-grid li").count() == 12
        assert page.locator("section[aria-labelledby=broken] .image-grid li").count() == 3
        correct = {error_type.title for error_type in CORRECT_TYPES}
        for grid in ("fixed", "broken"):
            image = page.locator(f"section[aria-labelledby={grid}] .image-grid li").first
            type_b, target, predicted, before = image.locator("p").all_inner_texts()
            assert target.startswith("ground truth:") and "prediction:" in predicted
            assert before.startswith("before: ")
            type_a = before.rpartition("(")[2].removesuffix(")")
            assert (type_a in correct, type_b in correct) == (grid == "broken", grid == "fixed")
        link = page.locator("section[aria-labelledby=fixed] > p a")
        assert link.inner_text() == f"All images ({page.inner_text('#fixed').rpartition(' ')[2]})"
        assert "change=fixed" in (link.get_attribute("href") or "")
        assert page.locator(".image-grid img").count() == 0  # the data set has no pictures


def test_grids_have_thumbnails_where_the_data_set_has_pictures(
    chromium: Browser, site: Site, demo_pair: tuple[str, str]
) -> None:
    a, b = demo_pair
    with open_page(chromium, f"{site.url}/compare?a={a}&b={b}") as view:
        pictures = view.page.locator("section[aria-labelledby=fixed] .image-grid img")
        assert pictures.count() == 12
        names = [(picture.get_attribute("alt") or "").removeprefix("image ") for picture in pictures.all()]
        sources = [picture.get_attribute("src") for picture in pictures.all()]
        assert sources == [f"/datasets/demo/thumbnails/{name}" for name in names]
        assert (
            view.page.locator(".image-grid a").first.get_attribute("href")
            == f"/datasets/demo/images/{names[0]}?analysis={b}&baseline={a}&change=fixed"
        )


def test_filter_by_class_leads_to_its_images_without_javascript(chromium: Browser, site: Site) -> None:
    with open_page(chromium, compare(site), java_script_enabled=False) as view:
        page = view.page
        label = target_names(page, "fixed")[0]
        page.locator("select[name=class]").select_option(label=label)
        page.locator("select[name=change]").select_option("fixed")
        with page.expect_navigation():
            page.get_by_role("button", name="Show").click()
        assert {*target_names(page, "fixed")} == {label}
        assert page.locator("select[name=class] option:checked").inner_text() == label
        assert page.locator("#broken").count() == 0
        with page.expect_navigation():
            page.get_by_role("link", name="Reset").click()
        assert page.locator("#broken").count() == 1


def test_class_in_the_table_filters_the_grids(chromium: Browser, site: Site) -> None:
    with open_page(chromium, compare(site)) as view:
        page = view.page
        caption = page.locator("caption", has_text=re.compile("^Classes with the most significant changes"))
        table = page.locator("table", has=caption).first
        assert "adjusted p-value" in table.locator("thead").inner_text()
        row = table.locator("tbody tr").first
        name, fixed = row.locator("th").inner_text(), row.locator("td").nth(1).inner_text()
        with page.expect_navigation():
            row.locator("th a").click()
        assert page.inner_text("#fixed") == f"Fixed: {fixed}"
        assert {*target_names(page, "fixed")} == {name}


@pytest.mark.parametrize(("width", "scheme"), SIZES)
def test_comparison_fits_the_window_and_is_accessible(chromium: Browser, site: Site, width: int, scheme: str) -> None:
    with open_page(chromium, compare(site), viewport={"width": width, "height": 900}, color_scheme=scheme) as view:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        view.page.screenshot(path=SCREENSHOTS / f"comparison-{width}-{scheme}.png", full_page=True)
        assert view.page.evaluate("document.documentElement.scrollWidth") <= width
        assert view.messages == []
        assert view.violations() == []


def test_hostile_names_are_text_in_grids(chromium: Browser, site: Site) -> None:
    name = site.hostile.name.removeprefix("analyses/")
    with open_page(chromium, f"{site.url}/compare?a={name}&b={name}&change=model_failure:model_failure") as view:
        assert HOSTILE in view.page.inner_text("h1")
        assert view.page.locator(".image-grid li").count() >= 1
        assert view.page.evaluate("window.hacked") is None
        assert view.messages == []

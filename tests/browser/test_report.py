"""Reports in a browser: offline use, filters, sorting, and hostile names."""

import re
from html import escape
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser

from service.domain import ErrorType
from service.evidence.bundle import Bundle
from service.rules.table import error_types
from service.taxonomy.imagenet_1k import imagenet_1k

from .conftest import HOSTILE, HOSTILE_FILE, SCREENSHOTS, Site, hidden_width, open_page

TABLES_SCRIPT = Path(__file__).parents[2] / "service" / "report" / "templates" / "tables.js"
DOCUMENTS = ("report", "comparison", "trend", "hostile_report")


def count(text: str) -> int:
    """Return the number of errors in the line above the table."""
    return int(re.findall(r"of ([\d,]+)", text)[0].replace(",", ""))


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_document_opens_offline_and_is_accessible(chromium: Browser, site: Site, document: str, scheme: str) -> None:
    file: Path = getattr(site, document)
    with open_page(chromium, file.as_uri(), offline=True, color_scheme=scheme) as view:
        assert view.requests == [file.as_uri()]
        assert view.messages == []
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        view.page.screenshot(path=SCREENSHOTS / f"{document}-{scheme}.png", full_page=True)
        assert view.violations() == []


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize("width", [400, 1200])
def test_document_does_not_overflow_its_window(chromium: Browser, site: Site, document: str, width: int) -> None:
    file: Path = getattr(site, document)
    with open_page(chromium, file.as_uri(), viewport={"width": width, "height": 900}) as view:
        assert view.page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_bar_of_contents_does_not_hide_the_focus(chromium: Browser, site: Site) -> None:
    with open_page(chromium, site.report.as_uri(), viewport={"width": 420, "height": 900}) as view:
        tops = view.page.locator("th button:visible").evaluate_all("""buttons => buttons.map(button => {
            scrollBy({ top: button.getBoundingClientRect().top, behavior: "instant" }); // under the bar
            button.focus();
            return button.getBoundingClientRect().top;
        })""")
        bar = view.page.locator(".contents").bounding_box()
        assert bar is not None and len(tops) > 5
        assert [top for top in tops if top < bar["y"] + bar["height"]] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_printed_charts_and_tables_are_not_clipped(chromium: Browser, site: Site, document: str) -> None:
    file: Path = getattr(site, document)
    width = 720  # of an A4 page with margins
    with open_page(chromium, file.as_uri(), viewport={"width": width, "height": 1000}) as view:
        view.page.emulate_media(media="print")
        boxes = view.page.locator(".picture, .wide")
        assert boxes.count() > 0
        assert boxes.evaluate_all("boxes => boxes.map(box => getComputedStyle(box).overflowX)") == (
            ["visible"] * boxes.count()
        )
        charts = view.page.locator(".picture svg").evaluate_all("charts => charts.map(c => c.getBoundingClientRect())")
        assert [chart["right"] for chart in charts if chart["right"] > width] == []
        assert view.page.evaluate("document.documentElement.scrollWidth") <= width
        broken = """cells => cells.filter(cell => /^[\\d,.]+$/.test(cell.textContent.trim())).filter(cell => {
            const range = document.createRange();
            range.selectNodeContents(cell);
            return new Set([...range.getClientRects()].map(line => line.top)).size > 1;
        }).map(cell => cell.textContent)"""
        assert view.page.locator(".wide td:visible").evaluate_all(broken) == []


@pytest.mark.parametrize("document", ["report", "hostile_report"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [420, 1300])
def test_no_column_of_the_error_table_is_outside_its_container(
    chromium: Browser, site: Site, document: str, scheme: str, width: int
) -> None:
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
    with open_page(chromium, getattr(site, document).as_uri(), **options) as view:
        table = view.page.locator("#errors-table")
        table.locator("tbody button").first.click()
        table.screenshot(path=SCREENSHOTS / f"{document}-errors-{scheme}-{width}.png")
        assert hidden_width(table) == 0, "a column is clipped"
        assert table.locator("thead button:visible").count() in (4, 5), "the table can be sorted"
        assert view.violations() == []


@pytest.mark.parametrize("width", [420, 1300])
def test_texts_of_trend_charts_are_inside_their_chart_and_the_window(chromium: Browser, site: Site, width: int) -> None:
    with open_page(chromium, site.trend.as_uri(), viewport={"width": width, "height": 900}) as view:
        view.page.screenshot(path=SCREENSHOTS / f"trend-{width}.png", full_page=True)
        texts = view.page.evaluate(
            """[...document.querySelectorAll(".multiples svg")].flatMap(svg => {
                const frame = svg.getBoundingClientRect();
                return [...svg.querySelectorAll("text")].filter(text => text.textContent).map(text => {
                    const box = text.getBoundingClientRect();
                    const inside = box.left >= frame.left && box.right <= frame.right && box.right <= innerWidth
                        && box.top >= frame.top && box.bottom <= frame.bottom;
                    return [text.textContent, inside];
                });
            })"""
        )
    titles = {text for text, _ in texts}
    portions = {"% of all errors", "% of multi-label errors"}
    assert {"top-1 accuracy, %", "multi-label accuracy, %"} | portions <= titles
    assert [text for text, inside in texts if not inside] == []


@pytest.mark.parametrize("document", ["report", "comparison"])
def test_texts_of_charts_are_readable_in_a_narrow_window(chromium: Browser, site: Site, document: str) -> None:
    file: Path = getattr(site, document)
    with open_page(chromium, file.as_uri(), viewport={"width": 420, "height": 900}) as view:
        sizes = view.page.evaluate(
            """[...document.querySelectorAll("figure:not(.narrow) svg text")].map(text => {
                const matrix = text.getScreenCTM();
                return parseFloat(getComputedStyle(text).fontSize) * Math.hypot(matrix.a, matrix.b);
            })"""
        )
    assert sizes and min(sizes) >= 7  # CSS pixels


def test_report_of_ten_thousand_errors_is_small_and_paged(chromium: Browser, site: Site) -> None:
    assert site.report.stat().st_size < 2_000_000
    with open_page(chromium, site.report.as_uri()) as view:
        page = view.page
        assert count(page.inner_text("#errors-count")) == 10_000
        assert page.locator("#errors-table tbody tr").count() == 50
        first = page.inner_text("#errors-table tbody tr:first-child .file")
        page.click("#errors-next")
        assert page.inner_text("#errors-count").startswith("Errors 51 to 100 of")
        assert page.inner_text("#errors-table tbody tr:first-child .file") != first
        page.click("#errors-previous")
        assert page.inner_text("#errors-table tbody tr:first-child .file") == first


def test_filters_select_matching_errors(chromium: Browser, site: Site, imagenet_real: Bundle) -> None:
    rows = imagenet_real.rows
    predicted, targets = site.top1[rows], imagenet_real.evidence.effective_targets
    types = error_types(imagenet_real.verdicts[np.arange(len(rows)), predicted])
    wrong = types > ErrorType.CORRECT.id
    members = imagenet_real.label_space.superclasses.mask(imagenet_real.manifest.superclasses[0])
    organisms = imagenet_real.arrays["groups"][0]
    sure = np.round(1000 * site.confidence[rows].astype(np.float16).astype(float)) >= 900
    expected = {
        ("type", "model_failure"): wrong & (types == ErrorType.MODEL_FAILURE.id),
        ("superclass", imagenet_real.manifest.superclasses[0]): wrong & members[targets],
        ("class", "207"): wrong & (targets == 207),
        ("predicted", "207"): wrong & (predicted == 207),
        ("group", "organism"): wrong & organisms,
        ("confidence", "0.9"): wrong & sure,
    }
    with open_page(chromium, site.report.as_uri()) as view:
        page = view.page
        for (name, value), mask in expected.items():
            control = page.locator(f"#errors-filters [name={name}]")
            if name == "confidence":
                control.fill(value)
            else:
                control.select_option(value)
            assert count(page.inner_text("#errors-count")) == mask.sum(), name
            page.click("#errors-reset")
        page.fill("#errors-filters [name=search]", "golden retriever")
        assert count(page.inner_text("#errors-count")) == (wrong & ((targets == 207) | (predicted == 207))).sum()
        page.fill("#errors-filters [name=search]", "no such file")
        assert page.inner_text("#errors-count") == "No errors match the filters."
        assert view.messages == []


def test_evidence_names_the_rejected_original_label(chromium: Browser, site: Site, imagenet_real: Bundle) -> None:
    row = int(np.flatnonzero(imagenet_real.evidence.rejected)[0])
    names = imagenet_1k().names
    evidence = imagenet_real.evidence
    original, first = names[evidence.targets[row]], names[evidence.effective_targets[row]]
    with open_page(chromium, site.report.as_uri()) as view:
        page = view.page
        page.fill("#errors-filters [name=search]", imagenet_real.judged_names[row])
        assert first in page.inner_text("#errors-table tbody tr:first-child")
        page.click("#errors-table tbody tr:first-child button")
        assert f"The labels of the image reject its original label, “{original}”." in page.inner_text(".evidence")
        assert view.messages == []


def test_sorting_works_both_ways_and_sets_aria_sort(chromium: Browser, site: Site) -> None:
    with open_page(chromium, site.report.as_uri()) as view:
        page = view.page
        button = page.locator("#errors-table thead button[data-sort=confidence]")
        for order, descending in (("ascending", True), ("descending", False)):
            button.click()
            values = [
                float(text.rstrip(" %"))
                for text in page.locator("#errors-table tbody td:nth-child(4)").all_inner_texts()
            ]
            assert values == sorted(values, reverse=descending)
            assert page.locator("#errors-table th[aria-sort]:not([aria-sort=none])").get_attribute("aria-sort") == order
        page.click("#errors-table thead button[data-sort=file]")
        files = page.locator("#errors-table tbody td:nth-child(5)").all_inner_texts()
        assert files == sorted(files)


def test_confidence_close_to_0_or_1_is_not_rounded_to_it(chromium: Browser, site: Site, tmp_path: Path) -> None:
    pattern = r'("probability": ?\[)[\d.]+, ?[\d.]+, ?[\d.]+, ?[\d.]+'
    text, count = re.subn(pattern, r"\g<1>999.9,0.1,0,1000", site.report.read_text(), count=1)
    assert count == 1
    (file := tmp_path / "report.html").write_text(text)

    with open_page(chromium, file.as_uri()) as view:
        cells = view.page.locator("#errors-table tbody td:nth-child(4)").all_inner_texts()

    assert cells[:4] == ["> 99.9 %", "< 0.1 %", "0.0 %", "100.0 %"]


def test_columns_sort_by_inexact_numbers(chromium: Browser) -> None:
    texts = ["99.9 %", "100.0 %", "< 0.1 %", "50.0 %", "0.0 %", "> 99.9 %", "0.1 %"]
    rows = "".join(f"<tr><td>{escape(text)}</td></tr>" for text in texts)
    with open_page(chromium, "about:blank") as view:
        page = view.page
        page.set_content(f"<table data-sortable><thead><tr><th>rate</th></tr></thead><tbody>{rows}</tbody></table>")
        page.add_script_tag(path=TABLES_SCRIPT)
        page.click("thead button")
        cells = page.locator("td").all_inner_texts()

    assert cells == ["100.0 %", "> 99.9 %", "99.9 %", "50.0 %", "0.1 %", "< 0.1 %", "0.0 %"]


def test_evidence_opens_by_keyboard_and_its_url_can_be_shared(chromium: Browser, site: Site) -> None:
    with open_page(chromium, site.report.as_uri()) as view:
        page = view.page
        page.select_option("#errors-filters [name=type]", "fine_grained")
        page.click("#errors-next")
        button = page.locator("#errors-table tbody button").nth(3)
        button.focus()
        page.keyboard.press("Enter")
        opened = page.inner_text(".opened")
        assert "labels" in opened
        assert "share a superclass" in opened
        assert "fine-grained: match" in opened
        assert button.get_attribute("aria-expanded") == "true"
        name, shared = page.locator("#errors-table tbody .file").nth(3).inner_text(), page.url
    with open_page(chromium, shared) as view:
        page = view.page
        assert page.input_value("#errors-filters [name=type]") == "fine_grained"
        assert "share a superclass" in page.inner_text(".opened")
        assert name in page.inner_text("#errors-table tbody")


def test_superclasses_can_be_filtered_and_sorted(chromium: Browser, site: Site) -> None:
    with open_page(chromium, site.report.as_uri()) as view:
        page = view.page
        visible = page.locator("#superclass-table > .wide tbody tr:visible")
        everything = visible.count()
        page.select_option("form[data-groups-of=superclasses] select", "0")
        assert 0 < visible.count() < everything
        assert all("0" in (item.get_attribute("data-groups") or "").split() for item in visible.all())
        page.select_option("form[data-groups-of=superclasses] select", "")
        page.click("#superclass-table > .wide thead th:nth-child(2) button")
        images = [
            int(text.replace(",", ""))
            for text in page.locator("#superclass-table > .wide tbody td:nth-child(2)").all_inner_texts()
        ]
        assert images == sorted(images, reverse=True)


def test_worst_errors_are_readable_without_javascript(chromium: Browser, site: Site) -> None:
    with open_page(chromium, site.report.as_uri(), java_script_enabled=False) as view:
        page = view.page
        assert page.locator("#errors-static > .errors > details").count() == 50
        page.locator("#errors-static > .errors > details > summary").first.click()
        assert "model failure: match" in page.inner_text("#errors-static")
        assert not page.locator("#errors-live").is_visible()


def test_hostile_names_of_models_and_files_do_nothing(chromium: Browser, site: Site) -> None:
    for url in (site.hostile_report.as_uri(), f"{site.url}/{site.hostile.name}", f"{site.url}/"):
        with open_page(chromium, url) as view:
            page = view.page
            assert page.evaluate("window.hacked") is None
            assert view.messages == []
            text = page.inner_text("body")
            assert HOSTILE in text
            if url != f"{site.url}/":
                for button in page.locator("#errors-table tbody button").all():
                    button.click()
                assert HOSTILE_FILE in page.inner_text("#errors-table")
                assert page.evaluate("window.hacked") is None
                assert [message for message in view.messages if "404" not in message] == []


def test_print_layout_shows_whole_tables(chromium: Browser, site: Site) -> None:
    with open_page(chromium, site.report.as_uri()) as view:
        page = view.page
        page.emulate_media(media="print", color_scheme="light")
        assert not page.locator("#errors-filters").is_visible()
        assert page.evaluate("getComputedStyle(document.querySelector('.tall')).maxHeight") == "none"
        assert page.pdf()[:5] == b"%PDF-"


def test_slices_and_the_attributes_of_an_error_are_text(chromium: Browser, site: Site) -> None:
    with open_page(chromium, site.hostile_report.as_uri()) as view:
        page = view.page
        assert f"note: {HOSTILE}" in page.inner_text("section[aria-labelledby=slices]")
        for button in page.locator("#errors-table tbody button").all():
            button.click()
        assert f"note: {HOSTILE}" in page.inner_text("#errors-table")
        assert "time: night" in page.inner_text("#errors-table")
        assert page.evaluate("window.hacked") is None

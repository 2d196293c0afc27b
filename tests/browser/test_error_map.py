"""The map of errors in a browser: from the report to a dot and its image, by pointer and by keyboard."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from mapped_bundle import mapped_predictions, write_mapped_bundle
from playwright.sync_api import Browser
from running_service import start_service

from .conftest import HOSTILE, SCREENSHOTS, open_page

WRONG = (1, 4, 8, 20, 21)


@pytest.fixture(scope="module")
def report(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a report on evidence with embeddings."""
    folder = tmp_path_factory.mktemp("map")
    path = write_mapped_bundle(folder)
    with start_service(data_dir, folder / "archive", evidence={"mapped": [str(path)]}) as running:
        content = io.BytesIO(mapped_predictions(WRONG))
        analysis = running.client.upload(content, "mapped", display_name=HOSTILE)
        yield f"http://{running.addresses.http}/{analysis.name}"


@pytest.mark.parametrize("script", [True, False])
def test_a_dot_leads_to_its_image(chromium: Browser, report: str, script: bool) -> None:
    with open_page(chromium, report, java_script_enabled=script) as view:
        page = view.page
        page.get_by_role("link", name="Map of errors").click()
        page.wait_for_url("**/map")
        dots = page.locator("svg.map a")
        assert dots.count() == len(WRONG)
        assert "Errors on the map: 5 of 5." in page.inner_text("main")
        counts = [int(text) for text in page.locator("tbody td").all_inner_texts()]
        assert sum(counts) == len(WRONG)
        name = dots.nth(2).get_attribute("aria-label")
        assert name is not None and name.startswith("008.jpg: ") and name.endswith("c → a")
        dots.nth(2).focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/datasets/mapped/images/008.jpg?*")
        assert page.inner_text("h1") == "008.jpg"
        assert view.messages == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [420, 1300])
def test_the_map_is_accessible_and_fits_the_window(chromium: Browser, report: str, width: int, scheme: str) -> None:
    url, viewport = f"{report}/map", {"width": width, "height": 900}
    with open_page(chromium, url, viewport=viewport, color_scheme=scheme) as view:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        view.page.screenshot(path=SCREENSHOTS / f"map-{width}-{scheme}.png", full_page=True)
        assert view.messages == []
        assert view.violations() == []
        assert view.page.evaluate("document.documentElement.scrollWidth") <= width
        assert view.page.evaluate("window.hacked") is None
        boxes = view.page.locator("svg.map circle").evaluate_all(
            "dots => dots.map(dot => [dot.getBoundingClientRect().x, getComputedStyle(dot).fill])"
        )
        assert len({box[0] for box in boxes}) == len(WRONG) and all(box[1] != "rgb(0, 0, 0)" for box in boxes)

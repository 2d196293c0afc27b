"""Pages in a browser: accessibility, links, live updates, and use without JavaScript."""

import io

import numpy as np
import pytest
from errata import pb
from playwright.sync_api import Browser
from running_service import Start

from .conftest import SCREENSHOTS, Site, open_page, wait_for_pictures


def paths(site: Site) -> dict[str, str]:
    a, b = (item.name.removeprefix("analyses/") for item in (site.analysis, site.other))
    demo = site.demo.name.removeprefix("analyses/")
    image = next(iter(site.running.client.verdicts(site.demo.name, most=1))).file_name
    return {
        "list": "/",
        "upload": "/upload",
        "delete": f"/analyses/{a}/delete",
        "report": f"/analyses/{a}",
        "demo": f"/analyses/{demo}",
        "image": f"/datasets/demo/images/{image}?analysis={demo}",
        "images": f"/analyses/{a}/images",
        "comparison": f"/compare/{a}/{b}",
        "trend": "/trend",
        "missing": "/analyses/nothing",
    }


@pytest.mark.parametrize(
    "name", ["list", "upload", "delete", "report", "demo", "image", "images", "comparison", "trend", "missing"]
)
def test_page_loads_nothing_external_and_is_accessible(chromium: Browser, site: Site, name: str) -> None:
    with open_page(chromium, site.url + paths(site)[name]) as view:
        assert all(request.startswith((site.url, "data:")) for request in view.requests)
        assert [message for message in view.messages if name != "missing" or "404" not in message] == []
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        view.page.screenshot(path=SCREENSHOTS / f"page-{name}.png", full_page=True)
        assert view.violations() == []
        assert view.page.evaluate("document.documentElement.scrollWidth") <= 1200


def test_comparison_works_without_javascript(chromium: Browser, site: Site) -> None:
    with open_page(
        chromium, f"{site.url}/?dataset=imagenet-real&order=display_name", java_script_enabled=False
    ) as view:
        page = view.page
        names = page.locator("tbody th > a").all_inner_texts()
        assert names == ["first", "second"]
        page.get_by_label("select second").check()
        page.get_by_label("select first").check()
        page.get_by_role("button", name="Compare two").click()
        assert page.inner_text("h1") == "first → second"
        assert "fixes " in page.inner_text(".headline")
        page.get_by_role("link", name="first", exact=True).click()
        assert page.inner_text("h1") == "first"


def test_error_row_shows_its_image_and_links_to_the_image_page(chromium: Browser, site: Site) -> None:
    with open_page(chromium, f"{site.url}/{site.demo.name}") as view:
        page = view.page
        requested = len([request for request in view.requests if "/thumbnails/" in request])
        assert requested == 0  # images are loaded only on demand
        page.locator("#errors-table tbody button").first.click()
        picture = page.locator(".opened img")
        wait_for_pictures(picture)
        assert view.messages == []
        name = page.locator("#errors-table tbody .file").first.inner_text()
        demo = site.demo.name.removeprefix("analyses/")
        expected = f"/datasets/demo/images/{name}?analysis={demo}"
        for link in (".opened a", "#errors-table tbody .file a"):
            assert page.locator(link).first.get_attribute("href") == expected


def test_list_updates_while_an_analysis_runs(chromium: Browser, start: Start) -> None:
    with start(open_gate=False) as service:
        analysis = service.client.analyze("demo:efficientnet_lite0", "demo")
        with open_page(chromium, f"http://{service.addresses.http}/") as view:
            page = view.page
            assert page.locator(".state-running, .state-queued").count() == 1
            service.gate.set()
            page.locator(".state-succeeded").wait_for(timeout=15_000)
            assert not page.get_attribute("#list", "data-live")
        with open_page(chromium, f"http://{service.addresses.http}/{analysis.name}") as view:
            assert "top-1 errors on" in view.page.inner_text(".headline")


def test_page_of_an_unfinished_analysis_becomes_its_report(chromium: Browser, start: Start) -> None:
    with start(open_gate=False) as service:
        analysis = service.client.analyze("demo:efficientnet_lite0", "demo")
        with open_page(chromium, f"http://{service.addresses.http}/{analysis.name}") as view:
            assert "demo: " in view.page.inner_text(".headline")
            service.gate.set()
            view.page.locator("#breakdown").wait_for(timeout=15_000)
            assert view.messages == []


def test_download_is_the_stand_alone_report(chromium: Browser, site: Site) -> None:
    with open_page(chromium, f"{site.url}/{site.demo.name}") as view:
        with view.page.expect_download() as waited:
            view.page.get_by_role("link", name="Download report", exact=True).click()
        content = waited.value.path().read_bytes()
        assert content == site.running.client.report(site.demo.name)
        assert b'src="/' not in content and b'href="/' not in content
        assert b"data:image/jpeg" not in content
        with view.page.expect_download() as waited:
            view.page.get_by_role("link", name="Download report with thumbnails").click()
        content = waited.value.path().read_bytes()
        assert content == site.running.client.report(site.demo.name, thumbnails=True)
        assert b"data:image/jpeg;base64," in content


def test_trend_marks_the_selected_analysis(chromium: Browser, site: Site) -> None:
    name = site.analysis.name.removeprefix("analyses/")
    with open_page(chromium, f"{site.url}/trend?mark={name}") as view:
        page = view.page
        assert page.input_value("[name=dataset]") == "imagenet-real"
        assert "No published models" in page.inner_text("header")
        assert "◆ first" in page.inner_text("#models ~ .wide, section[aria-labelledby=models]")
        page.select_option("[name=group]", "organism")
        page.get_by_role("button", name="Show").click()
        assert page.input_value("[name=group]") == "organism"
    result = site.running.client.trend(pb.ComputeTrendRequest(dataset="imagenet-real"))
    assert np.isclose(result.models[0].top1_accuracy, site.other.summary.groups["all"].top1_accuracy)


def test_live_pages_notice_deleted_analyses(chromium: Browser, start: Start, demo_csv: bytes) -> None:
    with start(open_gate=False) as service:
        url, client = f"http://{service.addresses.http}", service.client
        deleted = client.upload(io.BytesIO(demo_csv), "demo", display_name="one")
        running = client.analyze("demo:efficientnet_lite0", "demo")
        with open_page(chromium, url) as listed, open_page(chromium, f"{url}/{running.name}") as opened:
            row = listed.page.get_by_role("link", name="one", exact=True)
            row.wait_for()
            client.delete(deleted)
            row.wait_for(state="detached", timeout=15_000)
            opened.page.context.set_offline(True)  # the page of a canceled analysis is not updated anymore
            client.cancel(running)
            client.delete(running)
            opened.page.context.set_offline(False)
            opened.page.get_by_role("heading", name="Page not found").wait_for(timeout=15_000)


def test_selection_survives_a_live_update_of_the_list(chromium: Browser, start: Start, demo_csv: bytes) -> None:
    with start(open_gate=False) as service:
        for name in ("one", "two"):
            service.client.upload(io.BytesIO(demo_csv), "demo", display_name=name)
        service.client.analyze("demo:efficientnet_lite0", "demo")
        with open_page(chromium, f"http://{service.addresses.http}/?order=display_name") as view:
            page = view.page
            page.get_by_label("select one").check()
            page.get_by_label("select two").check()
            service.client.upload(io.BytesIO(demo_csv), "demo", display_name="three")
            page.get_by_role("link", name="three", exact=True).wait_for(timeout=15_000)
            names = page.locator("#list tbody th > a").all_inner_texts()
            assert len(names) == 4 and names == sorted(names), "a new row is at its place"
            assert page.get_by_label("select one").is_checked()
            assert page.get_by_label("select two").is_checked()
            service.gate.set()
            page.locator("#list:not([data-live])").wait_for(timeout=15_000)
            page.get_by_role("button", name="Compare two").click()
            assert page.inner_text("h1") == "one → two"

"""The list of analyses, the upload, and the deletion in a browser: every flow, width, and color scheme."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from running_service import Running, Start, start_service

from .conftest import HOSTILE, SCREENSHOTS, hidden_width, open_page

WIDTHS = [420, 1300, 2560]
PLACEHOLDERS_WITH_LOW_CONTRAST = """[...document.querySelectorAll("[placeholder]")]
    .filter((field) => getComputedStyle(field, "::placeholder").color !== getComputedStyle(field.labels[0]).color)
    .map((field) => field.name)"""


@pytest.fixture(scope="module")
def service(data_dir: Path, tmp_path_factory: pytest.TempPathFactory, demo_rows: list[str]) -> Iterator[Running]:
    """A service with analyses of the demo images, one with hostile names."""
    with start_service(data_dir, tmp_path_factory.mktemp("list") / "archive") as running:
        names = {"resnet": {"family": "cnn"}, "vit": {"family": "transformer"}, "mixer": {}, HOSTILE: {"<b>": HOSTILE}}
        for name, labels in names.items():
            running.client.upload(io.BytesIO(csv(demo_rows)), "demo", display_name=name, labels=labels)
        yield running


@pytest.fixture(scope="module")
def demo_rows(demo: object) -> list[str]:
    names, targets = demo.judged_names, demo.all_targets.tolist()  # type: ignore[attr-defined]
    return [f"{name},{target}" for name, target in zip(names, targets, strict=True)]


def csv(rows: list[str]) -> bytes:
    return "\n".join(["file_name,top1", *rows, ""]).encode()


def url(service: Running, path: str) -> str:
    return f"http://{service.addresses.http}{path}"


def titles(page: Page) -> list[str]:
    page.wait_for_load_state()  # a click waits only until the next page begins to load
    return page.locator("#list tbody th > a").all_inner_texts()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, *WIDTHS])
@pytest.mark.parametrize("path", ["/", "/upload", "/analyses/{id}/delete", "/analyses/{id}"])
def test_pages_fit_every_width_and_are_accessible(
    chromium: Browser, service: Running, path: str, width: int, scheme: str
) -> None:
    identifier = next(iter(service.client.list(display_name=HOSTILE))).name.removeprefix("analyses/")
    options = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    with open_page(chromium, url(service, path.format(id=identifier)), **options) as view:
        assert view.page.evaluate("document.documentElement.scrollWidth") <= width
        assert view.page.evaluate(PLACEHOLDERS_WITH_LOW_CONTRAST) == []
        assert view.violations() == []
        assert view.messages == [] and view.page.evaluate("window.hacked") is None
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        name = path.strip("/").replace("/", "-").format(id="report") or "list"
        view.page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{scheme}.png", full_page=True)


@pytest.mark.parametrize("width", [320, *WIDTHS])
def test_no_column_or_control_of_the_list_is_outside_its_container(
    chromium: Browser, service: Running, width: int
) -> None:
    with open_page(chromium, url(service, "/"), viewport={"width": width, "height": 900}) as view:
        page = view.page
        assert hidden_width(page.locator("#list .wide")) == 0, "a column is clipped"
        container = page.locator("main").bounding_box()
        assert container is not None
        for control in page.locator("#list input, #list button, #list td a").all():
            box = control.bounding_box()
            assert box is not None
            assert container["x"] <= box["x"] and box["x"] + box["width"] <= container["x"] + container["width"]


def test_filters_and_links_select_analyses(chromium: Browser, service: Running) -> None:
    with open_page(chromium, url(service, "/?order=display_name")) as view:
        page = view.page
        assert titles(page) == [HOSTILE, "mixer", "resnet", "vit"]
        page.get_by_role("link", name="family=cnn").click()
        assert titles(page) == ["resnet"]
        assert page.get_by_label("label", exact=True).input_value() == "family=cnn"
        page.get_by_role("link", name="Clear filters").click()
        page.get_by_label("search").fill("mix")
        page.get_by_role("button", name="Show", exact=True).click()
        assert titles(page) == ["mixer"]
        page.get_by_label("search").fill("")
        page.get_by_label("label", exact=True).fill(f"<b>={HOSTILE}")
        page.get_by_role("button", name="Show", exact=True).click()
        assert titles(page) == [HOSTILE]
        assert view.messages == [] and page.evaluate("window.hacked") is None


def test_columns_sort_the_list(chromium: Browser, service: Running) -> None:
    with open_page(chromium, url(service, "/"), java_script_enabled=False) as view:
        page = view.page
        page.get_by_role("columnheader", name="name").get_by_role("link").click()
        assert titles(page) == [HOSTILE, "mixer", "resnet", "vit"]
        header = page.get_by_role("columnheader", name="name")
        assert header.get_attribute("aria-sort") == "ascending"
        header.get_by_role("link").click()
        assert titles(page) == ["vit", "resnet", "mixer", HOSTILE]
        assert header.get_attribute("aria-sort") == "descending"


def test_any_two_analyses_are_compared_and_others_are_explained(chromium: Browser, service: Running) -> None:
    with open_page(chromium, url(service, "/")) as view:
        page = view.page
        page.get_by_label("select vit").check()
        page.get_by_role("button", name="Compare two").click()
        expect(page.locator("main")).to_contain_text("Select exactly two analyses to compare them, not 1.")
        page.go_back()
        page.get_by_label("select resnet").check()
        page.get_by_label("select vit").check()
        page.get_by_role("button", name="Compare two").click()
        assert page.inner_text("h1") == "resnet → vit", "the older analysis comes first"


def test_selected_analyses_are_marked_in_the_trend(chromium: Browser, service: Running) -> None:
    with open_page(chromium, url(service, "/")) as view:
        page = view.page
        page.get_by_label("select vit").check()
        page.get_by_role("button", name="Show in the trend").click()
        assert page.url.partition("?")[0].endswith("/trend") and "mark=" in page.url
        assert page.inner_text("h1") == "Error types and accuracy: demo"


@pytest.mark.parametrize("has_scripts", [True, False])
def test_a_good_file_is_uploaded_and_its_analysis_is_deleted(
    chromium: Browser, service: Running, demo_rows: list[str], has_scripts: bool
) -> None:
    with open_page(chromium, url(service, "/"), java_script_enabled=has_scripts) as view:
        page = view.page
        page.get_by_role("link", name="Upload").click()
        page.get_by_label("data set").select_option("demo")
        page.get_by_label("labels").fill("family=cnn\nsize=big")
        page.get_by_label("predictions file").set_input_files(
            {"name": "<i>my net.csv", "mimeType": "text/csv", "buffer": csv(demo_rows)}
        )
        page.get_by_role("button", name="Upload and analyze").click()
        page.wait_for_url("**/analyses/*")
        assert page.inner_text("h1") == "<i>my net.csv"
        page.get_by_role("link", name="Delete").click()
        expect(page.locator("main")).to_contain_text("deleted permanently")
        page.get_by_role("button", name="Delete permanently").click()
        page.wait_for_url("**/")
        assert "<i>my net.csv" not in titles(page)
        assert view.messages == []


def test_a_bad_file_shows_the_messages_with_their_lines(
    chromium: Browser, service: Running, demo_rows: list[str]
) -> None:
    with open_page(chromium, url(service, "/upload")) as view:
        page = view.page
        page.get_by_label("name (default").fill("my net")
        bad = csv([f"{demo_rows[0]}x", "only_a_name.jpg", *demo_rows[1:]])
        page.get_by_label("predictions file").set_input_files(
            {"name": "bad.csv", "mimeType": "text/csv", "buffer": bad}
        )
        page.get_by_role("button", name="Upload and analyze").click()
        message = f"Line 2: Unknown class '{demo_rows[0].partition(',')[2]}x'."
        expect(page.get_by_role("alert")).to_contain_text(message)
        assert page.get_by_label("name (default").input_value() == "my net"
        assert view.violations() == []


def test_a_file_that_is_too_large_is_not_sent(chromium: Browser, start: Start) -> None:
    with start(max_upload_bytes=1024) as service, open_page(chromium, url(service, "/upload")) as view:
        page = view.page
        page.get_by_label("predictions file").set_input_files(
            {"name": "big.csv", "mimeType": "text/csv", "buffer": bytes(2000)}
        )
        page.get_by_text("The file is too large").wait_for()
        page.get_by_role("button", name="Upload and analyze").click()
        assert page.url.endswith("/upload") and len(view.requests) == 1


def test_a_file_can_be_dropped(chromium: Browser, service: Running) -> None:
    with open_page(chromium, url(service, "/upload")) as view:
        page = view.page
        transfer = page.evaluate_handle(
            "() => { const data = new DataTransfer(); data.items.add(new File(['x'], 'dropped.csv')); return data; }"
        )
        page.dispatch_event(".drop", "dragover", {"dataTransfer": transfer})
        assert page.locator(".drop.over").count() == 1
        page.dispatch_event(".drop", "drop", {"dataTransfer": transfer})
        assert page.locator(".drop.over").count() == 0
        assert page.evaluate("document.querySelector('[name=file]').files[0].name") == "dropped.csv"
        assert view.messages == []


def test_forms_of_another_site_are_refused(chromium: Browser, service: Running, tmp_path: Path) -> None:
    """The address is the same, but the page is not one of the service: its origin is opaque."""
    analysis = next(iter(service.client.list(display_name="mixer")))
    evil = tmp_path / "evil.html"
    evil.write_text(
        f'<form method="post" action="{url(service, f"/{analysis.name}/delete")}">'
        '<input name="form_token" value="guess"><button>win</button></form>'
        f'<form method="post" enctype="multipart/form-data" action="{url(service, "/upload")}">'
        '<input name="form_token" value="guess"><input type="file" name="file"><button>upload</button></form>'
    )
    with open_page(chromium, url(service, "/upload")) as view:  # the browser has a cookie of the service
        page = view.page
        for button in ("win", "upload"):
            page.goto(evil.as_uri())
            page.get_by_role("button", name=button).click()
            page.wait_for_url(f"http://{service.addresses.http}/**")
            assert "The form was sent by another site" in page.inner_text("main")
    assert service.client.get(analysis.name).display_name == "mixer"

"""The trend page in a browser: names and links of dots, axes, several marks, and texts of charts."""

import io
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from running_service import start_service

from service.evidence.bundle import Bundle

from .conftest import HOSTILE, SCREENSHOTS, open_page

SIZES = [(420, "light"), (420, "dark"), (1300, "light"), (1300, "dark")]
NAMES = ("resnet50", "a model with a very long name, version 2026-11-28 (fine-tuned on private data)", HOSTILE, "vit")
TEXTS = """[...document.querySelectorAll("figure svg")].flatMap((svg, number) => {
    const frame = svg.getBoundingClientRect(), scrolled = svg.closest(".picture");
    const right = scrolled && scrolled.scrollWidth > scrolled.clientWidth ? Infinity : innerWidth;
    return [...svg.querySelectorAll("text")].filter(text => text.textContent).map(text => {
        const box = text.getBoundingClientRect();
        const inside = box.left >= frame.left && box.right <= frame.right && box.right <= right
            && box.top >= frame.top && box.bottom <= frame.bottom;
        return {number, text: text.textContent, inside, box: [box.left, box.top, box.right, box.bottom]};
    });
})"""


@pytest.fixture(scope="module")
def trend(data_dir: Path, tmp_path_factory: pytest.TempPathFactory, demo: Bundle) -> Iterator[tuple[str, list[str]]]:
    """The URL of a service with four models, and their IDs."""
    with start_service(data_dir, tmp_path_factory.mktemp("trend")) as running:
        targets, ids = demo.all_targets.tolist(), []
        for number, title in enumerate(NAMES):
            predicted = [(value + 1 + 300 * (row % 2)) % 1000 if row < 4 + 3 * number else value
                         for row, value in enumerate(targets)]  # fmt: skip
            rows = [f"{name},{value}\n" for name, value in zip(demo.judged_names, predicted, strict=True)]
            content = io.BytesIO(("file_name,top1\n" + "".join(rows)).encode())
            analysis = running.client.upload(content, "demo", display_name=title, labels={"data": f"set {number % 2}"})
            ids.append(analysis.name.removeprefix("analyses/"))
        yield f"http://{running.addresses.http}", ids


def overlaps(page: Page) -> list[tuple[str, str]]:
    """Return the pairs of texts of one chart that overlap, and the texts that are cut as a pair with themselves."""
    texts = page.evaluate(TEXTS)
    assert texts
    pairs = [(item["text"], item["text"]) for item in texts if not item["inside"]]
    for first, second in itertools.combinations(texts, 2):
        left, top, right, bottom = first["box"]
        other_left, other_top, other_right, other_bottom = second["box"]
        width, height = min(right, other_right) - max(left, other_left), min(bottom, other_bottom) - max(top, other_top)
        if first["number"] == second["number"] and width > 0 and height > 2:  # boxes contain the space between lines
            pairs.append((first["text"], second["text"]))
    return pairs


@pytest.mark.parametrize(("width", "scheme"), SIZES)
def test_texts_of_charts_are_whole_and_apart(
    chromium: Browser, trend: tuple[str, list[str]], width: int, scheme: str
) -> None:
    url, ids = trend
    options = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    with open_page(chromium, f"{url}/trend?dataset=demo&mark={ids[0]}&by=data", **options) as view:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        view.page.screenshot(path=SCREENSHOTS / f"trend-page-{width}-{scheme}.png", full_page=True)
        assert overlaps(view.page) == []
        assert view.page.evaluate("document.documentElement.scrollWidth") <= width
        assert view.violations() == []
        view.page.goto(f"{url}/trend?dataset=demo&y=model_failure&x=multi_label_accuracy")
        view.page.screenshot(path=SCREENSHOTS / f"trend-single-{width}-{scheme}.png", full_page=True)
        assert overlaps(view.page) == []
        assert view.messages == []


@pytest.mark.parametrize("width", [420, 1300])
def test_texts_of_a_comparison_are_whole_and_apart(chromium: Browser, trend: tuple[str, list[str]], width: int) -> None:
    url, (a, b, *_) = trend
    with open_page(chromium, f"{url}/compare?a={a}&b={b}", viewport={"width": width, "height": 900}) as view:
        assert overlaps(view.page) == []


def test_dots_have_names_and_links_that_the_keyboard_reaches(chromium: Browser, trend: tuple[str, list[str]]) -> None:
    url, ids = trend
    with open_page(chromium, f"{url}/trend?dataset=demo&y=model_failure") as view:
        page = view.page
        dots = page.locator("figure svg a")
        assert {dot.get_attribute("href") for dot in dots.all()} == {f"/analyses/{name}" for name in ids}
        names = {dot.get_attribute("aria-label") or dot.text_content() for dot in dots.all()}
        assert {name.rpartition(": ")[0].rpartition(": ")[0] for name in names if name} == {*NAMES}
        page.get_by_role("link", name="Table of models").focus()
        for _ in range(2):  # the first key can focus the frame of a chart that scrolls
            page.keyboard.press("Tab")
            if (focused := page.evaluate("document.activeElement.getAttribute('href')")) is not None:
                break
        assert focused == dots.first.get_attribute("href")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{url}{focused}")
        assert view.messages == []


def test_names_and_links_work_without_javascript(chromium: Browser, trend: tuple[str, list[str]]) -> None:
    url, ids = trend
    with open_page(chromium, f"{url}/trend?dataset=demo&y=model_failure", java_script_enabled=False) as view:
        dot = view.page.locator(f"figure svg a[href='/analyses/{ids[0]}']")
        assert (dot.locator("title").text_content() or "").startswith("resnet50: ")
        dot.locator("path").click()
        assert view.page.inner_text("h1") == "resnet50"


def test_several_analyses_are_marked_and_stay_marked(chromium: Browser, trend: tuple[str, list[str]]) -> None:
    url, ids = trend
    with open_page(chromium, f"{url}/trend?mark={ids[0]}&mark={ids[3]}") as view:
        page = view.page
        assert page.input_value("select[name=dataset]") == "demo"
        marked = page.locator("#models ~ .wide tbody th", has_text="◆")
        assert {*marked.all_inner_texts()} == {"◆ resnet50", "◆ vit"}
        page.select_option("[name=y]", "model_failure")
        page.select_option("[name=x]", "top1_accuracy")
        page.select_option("[name=by]", "data")
        page.get_by_label("owner", exact=True).fill("nobody")
        with page.expect_navigation():
            page.get_by_role("button", name="Show").click()
        assert page.locator("figure svg").count() == 1
        assert "top-1 accuracy, %" in page.locator("figure svg text").all_text_contents()
        assert {*page.locator(".key li").all_inner_texts()} == {"set 0", "set 1"}
        assert {*marked.all_inner_texts()} == {"◆ resnet50", "◆ vit"}
        assert page.locator("#models ~ .wide tbody tr").count() == 2, "only the marked ones"
        for name, value in (("x", "top1_accuracy"), ("y", "model_failure"), ("by", "data"), ("owner", "nobody")):
            assert page.input_value(f"[name={name}]") == value


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("x=odd", 400, "Unknown accuracy 'odd'. Expected one of: top1_accuracy, multi_label_accuracy."),
        ("y=odd", 400, "Metric 'odd' is not available."),
        ("x=multi_label_accuracy&y=multi_label_accuracy", 400, "Metric 'multi_label_accuracy' is not available."),
        ("y=%3Cscript%3Ewindow.hacked=1%3C/script%3E", 400, "is not available."),
        ("mark=../x", 404, "Analysis '../x' not found"),
        ("mark=nothing", 404, "Analysis 'nothing' not found"),
        ("&".join(f"mark=a{number}" for number in range(101)), 400, "Mark at most 100."),
        ("by=" + "x" * 300, 400, "At most 256 are allowed."),
    ],
)
def test_invalid_parameters_have_an_error_page(
    chromium: Browser, trend: tuple[str, list[str]], query: str, status: int, text: str
) -> None:
    with open_page(chromium, trend[0]) as view:
        response = view.page.goto(f"{trend[0]}/trend?dataset=demo&{query}")
        assert response is not None and response.status == status
        assert text in view.page.inner_text("main")
        assert view.page.evaluate("window.hacked") is None

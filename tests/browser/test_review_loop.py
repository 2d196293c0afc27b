"""The whole loop in a browser: upload, report, images, review, new evidence, judge again, and the new default."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from running_service import Running, start_service

from service.bootstrap.build import Inputs, build_evidence

from .conftest import SCREENSHOTS, OpenPage, open_page

CLASSES = ("cat", "dog", "owl")
NUM_IMAGES = 40
WRONG = {"first": (0, 5, 10), "second": (0, 6)}  # images whose prediction is the next class; image 0 is a dog


def _name(number: int) -> str:
    return f"image {number:02}.jpg"


def _predictions(wrong: tuple[int, ...]) -> bytes:
    rows = (f"{_name(number)},{(number + (number in wrong)) % 3}\n" for number in range(NUM_IMAGES))
    return ("file_name,top1\n" + "".join(rows)).encode()


def _class_mean(wrong: tuple[int, ...], label_of_first: int) -> float:
    """Return the mean over the classes of the share of correct predictions."""
    correct: list[list[bool]] = [[] for _ in CLASSES]
    for number in range(NUM_IMAGES):
        label = number % 3 if number else label_of_first
        correct[label].append((number + (number in wrong)) % 3 == label)
    return sum(sum(outcomes) / len(outcomes) for outcomes in correct) / len(CLASSES)


@contextmanager
def street_service(data_dir: Path, folder: Path) -> Iterator[Running]:
    (folder / "classes.csv").write_text("id,name\n" + "".join(f"{name},{name}\n" for name in CLASSES))
    rows = (f"{_name(number)},{CLASSES[number % 3]}\n" for number in range(NUM_IMAGES))
    (folder / "labels.csv").write_text("file_name,labels\n" + "".join(rows))
    inputs = Inputs(classes=folder / "classes.csv", labels=folder / "labels.csv")
    bundle = build_evidence("street", inputs, folder / "bundle")
    with start_service(data_dir, folder / "archive", evidence={"street": [str(bundle.path)]}) as running:
        yield running


def _upload(page: Page, url: str, name: str, wrong: tuple[int, ...]) -> None:
    page.goto(f"{url}/upload?dataset=street")
    page.get_by_label("name (default").fill(name)
    page.set_input_files("[type=file]", {"name": "p.csv", "mimeType": "text/csv", "buffer": _predictions(wrong)})
    with page.expect_navigation():
        page.get_by_role("button", name="Upload and analyze").click()
    assert page.inner_text("h1") == name


def _click(page: Page, name: str, role: str = "link") -> None:
    with page.expect_navigation():
        page.get_by_role(role, name=name, exact=True).first.click()  # type: ignore[arg-type]


def _check(view: OpenPage, name: str) -> None:
    """Check that the page has no violations at both widths."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for width in (1300, 420):
        view.page.set_viewport_size({"width": width, "height": 900})
        view.page.screenshot(path=SCREENSHOTS / f"loop-{name}-{width}.png", full_page=True)
        assert view.page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert view.violations() == [], name


@pytest.mark.parametrize("script", [True, False])
def test_the_loop_from_an_error_to_a_new_default(
    chromium: Browser, data_dir: Path, tmp_path: Path, script: bool
) -> None:
    with (
        street_service(data_dir, tmp_path) as running,
        open_page(chromium, f"http://{running.addresses.http}/", java_script_enabled=script) as view,
    ):
        url, page = f"http://{running.addresses.http}", view.page
        for name, wrong in WRONG.items():
            _upload(page, url, name, wrong)
        # from the report to the images, an image, and its review
        _click(page, "Images")
        page.get_by_role("link", name=_name(0)).first.click()
        page.wait_for_url("**/datasets/street/images/**")
        assert "dog" in page.inner_text("main")
        with page.expect_navigation():
            page.locator("main").get_by_role("link", name="Review", exact=True).click()
        for class_name, choice in (("cat", "reject"), ("dog", "add")):
            row = page.locator("fieldset.choice").filter(has=page.locator("legend", has_text=class_name))
            row.get_by_label(choice, exact=True).check()
        page.get_by_label("your name").fill("ann")
        _click(page, "Save and next", "button")
        # evidence from the review
        page.goto(f"{url}/review?dataset=street")
        _click(page, "Build evidence from reviews")
        if script:
            _check(view, "versions")
        page.get_by_label("reviewers that must have voted").fill("2")
        _click(page, "Build", "button")
        assert "Nothing was changed." in page.inner_text("[role=alert]")
        assert page.get_by_label("reviewers that must have voted").input_value() == "2"
        page.get_by_label("reviewers that must have voted").fill("1")
        _click(page, "Build", "button")
        built = page.inner_text("h1 code")
        assert "1 image differs. 1 label added, 1 label removed." in page.inner_text("main")
        assert "Models judged with the base only: 2" in page.inner_text("main")
        # both models again
        _click(page, "Judge all analyses", "button")
        expect(page.locator("#ended")).to_contain_text("2 of 2 analyses judged: 2 new.", timeout=30_000)
        rows = {row.split("\t")[0]: row.split("\t") for row in page.inner_text("#models ~ div table").splitlines()}
        for name, wrong in WRONG.items():
            texts = [text.replace("\N{NO-BREAK SPACE}", " ") for text in rows[name]]
            accuracies = (_class_mean(wrong, label_of_first) for label_of_first in (0, 1))
            assert texts[2] == " → ".join(f"{100 * accuracy:.1f} %" for accuracy in accuracies)
            assert texts[3] == " → ".join(f"{100 * n / NUM_IMAGES:.1f} %" for n in (len(wrong), len(wrong) - 1))
            assert rows[name][4:6] == ["1", "0"]
        if script:
            _check(view, "changes")
        # the new default
        _click(page, "Set as default", "button")
        assert built in page.locator("tbody tr").first.inner_text()
        assert "default" in page.locator("tbody tr").first.inner_text()
        events = page.locator("section:has(#events) tbody tr").all_inner_texts()
        assert [event.split("\t")[1:4] for event in events] == [
            ["unauthenticated", "set as default", built],
            ["unauthenticated", "built from reviews", built],
        ]
        if script:
            _check(view, "events")
        _upload(page, url, "third", WRONG["second"])
        digest = page.locator("section:has(#provenance) tr", has_text="evidence digest").get_by_role("link")
        assert digest.inner_text().startswith(built)
        digest.click()
        page.wait_for_url("**/datasets/street/evidence")
        assert view.messages == [message for message in view.messages if "400" in message]  # of the refused form

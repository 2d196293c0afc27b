"""Chromium without a network, and the documents that the tests open in it."""

import csv
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from errata import pb
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright
from running_service import Running, Start, start_service

from service.bootstrap.build import Inputs, build_evidence
from service.evidence.bundle import Bundle

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
SCREENSHOTS = ROOT / "build" / "screenshots"
HOSTILE = '<img src=x onerror="window.hacked = 1"></script><script>window.hacked = 2</script>\'"{{7*7}}'
HOSTILE_FILE = '"><img src=x onerror=window.hacked=3>.jpg'


@dataclass
class OpenPage:
    """An open page with its requests and console messages."""

    page: Page
    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)  # console messages, script errors, and policy violations

    def violations(self) -> list[str]:
        """Return the violations that axe-core reports."""
        self.page.evaluate(AXE.read_text())
        result = self.page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        return [f"{item['impact']} {item['id']}: {item['nodes'][0]['html'][:200]}" for item in result]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for one module, because playwright's event loop conflicts with asynchronous tests."""
    program = shutil.which("chromium")
    assert program is not None and AXE.is_file(), "Chromium or axe-core is missing: `make test` installs them"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def open_page(chromium: Browser, url: str, **options: Any) -> Iterator[OpenPage]:
    """Open a URL and record requests and console messages."""
    context: BrowserContext = chromium.new_context(**{"viewport": {"width": 1200, "height": 900}} | options)
    try:
        page = context.new_page()
        view = OpenPage(page)
        page.on("request", lambda request: view.requests.append(request.url))
        page.on("console", lambda message: view.messages.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: view.messages.append(str(error)))
        page.on("dialog", lambda dialog: view.messages.append(f"dialog: {dialog.message}"))
        page.goto(url)
        yield view
    finally:
        context.close()


def hidden_width(box: Locator) -> int:
    """Return by how many pixels the content of a box is wider than the box."""
    return int(box.evaluate("box => box.scrollWidth - box.clientWidth"))


def wait_for_pictures(*pictures: Locator) -> None:
    """Wait until pictures are loaded.

    Unlike `Page.wait_for_function`, this evaluates no text as code, which the policy of the pages can forbid.
    """
    for picture in pictures:
        expect(picture).not_to_have_js_property("naturalWidth", 0, timeout=30_000)


@dataclass(frozen=True)
class Site:
    """A service with analyses, and its documents as files."""

    running: Running
    url: str
    analysis: pb.Analysis  # imagenet-real, 10,000 errors, with probabilities
    other: pb.Analysis  # the same with some changed predictions
    hostile: pb.Analysis  # a data set with hostile names
    demo: pb.Analysis  # the demo images
    report: Path
    comparison: Path
    trend: Path
    hostile_report: Path
    top1: np.ndarray  # (A,) predictions of the first analysis
    confidence: np.ndarray  # (A,)


@pytest.fixture(scope="session")
def site(data_dir: Path, tmp_path_factory: pytest.TempPathFactory, imagenet_real: Bundle) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    labels = folder / "labels.csv"
    rows = [f'"{name}",{label}' for name, label in (("plain.jpg", 207), (HOSTILE_FILE.replace('"', '""'), 417))]
    labels.write_text("file_name,labels\n" + "\n".join(rows) + "\n")
    own = build_evidence("street", Inputs(labels=labels), folder / "bundle")
    top1, confidence = ten_thousand_errors(imagenet_real)
    changed = top1.copy()
    changed[imagenet_real.rows[::40]] = imagenet_real.all_targets[imagenet_real.rows[::40]]
    attributes = _write_attributes(folder, imagenet_real)
    evidence = {"street": [str(own.path)]}
    with start_service(data_dir, folder / "archive", evidence=evidence, attributes=attributes) as running:
        client = running.client
        analysis = client.upload(_csv(imagenet_real, top1, confidence, folder / "a.csv"), display_name="first")
        other = client.upload(_csv(imagenet_real, changed, confidence, folder / "b.csv"), display_name="second")
        predicted = folder / "street.csv"
        predicted.write_text("file_name,top1\n" + "\n".join(f"{row.rsplit(',', 1)[0]},3" for row in rows) + "\n")
        hostile = client.upload(predicted, "street", display_name=HOSTILE)
        demo = client.analyze("demo:efficientnet_lite0", "demo")
        demo = [*client.watch(demo.name)][-1]
        documents = {
            "report": client.report(analysis.name),
            "comparison": client.comparison_report(analysis.name, other.name),
            "trend": client.trend_report(pb.ComputeTrendRequest(analyses=[analysis.name, other.name])),
            "hostile": client.report(hostile.name),
        }
        for name, content in documents.items():
            (folder / f"{name}.html").write_bytes(content)
        yield Site(
            running, f"http://{running.addresses.http}", analysis, other, hostile, demo,
            folder / "report.html", folder / "comparison.html", folder / "trend.html", folder / "hostile.html",
            top1, confidence,
        )  # fmt: skip


def _write_attributes(folder: Path, bundle: Bundle) -> dict[str, list[str]]:
    """Write attributes of both data sets; return the setting."""
    images = [(name, "time", ("day", "night")[row % 2]) for row, name in enumerate(bundle.judged_names)]
    rows = {"imagenet-real": images, "street": [("plain.jpg", "note", HOSTILE), (HOSTILE_FILE, "time", "night")]}
    for dataset, of_dataset in rows.items():
        with (folder / f"{dataset}-attributes.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("file_name", "attribute", "value"), *of_dataset])
    return {dataset: [str(folder / f"{dataset}-attributes.csv")] for dataset in rows}


def ten_thousand_errors(bundle: Bundle) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions, (A,), with 10,000 errors, and their probabilities, (A,).

    No prediction of an image whose labels reject the original label has the type `correct`.
    """
    random = np.random.default_rng(5)
    top1 = np.array(bundle.all_targets)
    rejected = bundle.evidence.rejected
    some = random.choice(bundle.rows[~rejected], 10_000 - int(rejected.sum()), replace=False)
    wrong = np.concatenate([bundle.rows[rejected], some])
    near = random.random(len(wrong)) < 0.5
    top1[wrong] = np.where(near, (top1[wrong] + random.choice([-1, 1], len(wrong))) % 1000, (top1[wrong] + 333) % 1000)
    return top1.astype(np.int16), np.round(random.random(len(top1)), 3)


def _csv(bundle: Bundle, top1: np.ndarray, confidence: np.ndarray, file: Path) -> Path:
    rows = zip(bundle.image_names, top1.tolist(), confidence.tolist(), strict=True)
    file.write_text("file_name,top1,predicted_probability\n" + "".join(f"{n},{p},{c}\n" for n, p, c in rows))
    return file


@pytest.fixture
def start(data_dir: Path, tmp_path: Path) -> Start:
    """Return a function that starts a separate service."""
    return lambda **settings: start_service(data_dir, tmp_path / "archive", **settings)


@pytest.fixture
def demo_csv(demo: Bundle) -> bytes:
    """A predictions file for the 20 demo images without errors."""
    rows = zip(demo.judged_names, demo.all_targets.tolist(), strict=True)
    return ("file_name,top1\n" + "".join(f"{name},{value}\n" for name, value in rows)).encode()

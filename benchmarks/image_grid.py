"""A page of 60 images out of 50,000 with its thumbnails, compared with reading 60 prepared files.

The thumbnails were made before, so the page contains them. The time of a page is the processor time of the service,
which includes all of HTTP; other programs do not lengthen it. `python -m benchmarks.image_grid` also prints durations,
and the first paint in Chromium.
"""

import base64
import http.client
import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from html import unescape
from io import BytesIO
from pathlib import Path
from statistics import mean, median

import numpy as np
from errata import Client
from PIL import Image
from redis_server import free_port

from benchmarks.harness import Case, Result, at_most, computed, timed
from benchmarks.processes import LOCAL, serving
from service.domain.images import PAGE_SIZE
from service.evidence.labels import original_labels, validation_name

NUM_IMAGES = 50_000
NUM_MODELS = 20  # archived analyses with the same evidence
NUM_PAGES = 20
METRICS_SECONDS = 5.0  # after which the service generates its metrics again
NUM_PICTURES = 64  # distinct source images; the others are hard links to them
PAGE = f"a page of {PAGE_SIZE} thumbnails of 50,000 images"
FILES = Case("image_grid.files", PAGE, f"reading {PAGE_SIZE} prepared files", "ms", at_most(10))
GRID = 'errata_http_request_duration_seconds_sum{path="/analyses/{id}/images"}'
CPU = "process_cpu_seconds_total"


@dataclass(frozen=True)
class Measured:
    """Seconds of a page: means over pages."""

    first_grid: float  # duration; also computes the verdicts of all other analyses
    grid: float  # duration on the server
    page: float  # processor time of the service
    files: float  # processor time
    paints: list[float]  # first contentful paint in Chromium; empty: not installed


def measure() -> Iterator[Result]:
    """Yield the results."""
    measured = measure_parts(paint=False)
    yield FILES.measured(measured.page, measured.files)


def measure_parts(paint: bool) -> Measured:
    """Return the seconds of each part; `paint`: also measure the first paint."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        images = _write_images(folder / "images")
        address = f"127.0.0.1:{free_port()}"
        settings = {"ERRATA_HTTP_ADDRESS": address, "ERRATA_IMAGES": json.dumps({"imagenet-real": str(images)})}
        client = stack.enter_context(Client(stack.enter_context(serving(LOCAL, folder / "data", **settings))))
        analyses = [
            client.upload(BytesIO(_predictions(number)), "imagenet-real").name for number in range(NUM_MODELS + 1)
        ]
        first_grid = timed(lambda: _Site(address).get(f"/{analyses[0]}/images"))()
        pages = [f"/{analyses[0]}/images?page={number}" for number in range(1, NUM_PAGES + 1)]
        prepared = [_Site(address).thumbnails(page) for page in pages]
        files = _write_files(folder / "files", prepared)
        start, before = _read_metrics(address), _read_metrics(address)
        idle = before[CPU] - start[CPU]  # of reading metrics, and of the service without requests
        site = _Site(address)
        for page in pages:
            site.get(page)
        after = _read_metrics(address)
        assert _Site(address).thumbnails(pages[0]) == prepared[0]
        return Measured(
            first_grid,
            grid=(after[GRID] - before[GRID]) / NUM_PAGES,
            page=(after[CPU] - before[CPU] - idle) / NUM_PAGES,
            files=mean(computed(partial(_read, paths))() for paths in files),
            paints=_first_paints(f"http://{address}{pages[0]}") if paint else [],
        )


class _Site:
    """A client that keeps its connection."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=60)

    def get(self, path: str) -> bytes:
        """Return the content at a path."""
        self._connection.request("GET", path)
        response = self._connection.getresponse()
        content = response.read()
        assert response.status == 200, f"{path}: {response.status} {content[:500]!r}"
        return content

    def thumbnails(self, page: str) -> list[bytes]:
        """Return the thumbnails of a page, also those that it does not have yet."""
        urls = re.findall(r'<img src="([^"]+)"', self.get(page).decode())
        assert len(urls) == PAGE_SIZE, f"the page has {len(urls)} thumbnails"
        return [
            base64.b64decode(url.partition(",")[2]) if url.startswith("data:") else self.get(unescape(url))
            for url in urls
        ]


def _read_metrics(address: str) -> dict[str, float]:
    """Return the values of the service's metrics by their names with labels."""
    time.sleep(METRICS_SECONDS)
    lines = _Site(address).get("/metrics").decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


def _write_images(folder: Path) -> Path:
    """Write 50,000 images of 500 x 375 pixels."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for number in range(1, NUM_IMAGES + 1):
        path = folder / validation_name(number)
        if number <= NUM_PICTURES:
            coarse = random.integers(0, 256, (15, 20, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC).save(path, "JPEG", quality=90)
        else:
            path.hardlink_to(folder / validation_name(number % NUM_PICTURES + 1))
    return folder


def _predictions(seed: int) -> bytes:
    """Return predictions with probabilities, of which 75 % are correct."""
    random = np.random.default_rng(seed)
    targets = original_labels()
    predicted = np.where(random.random(NUM_IMAGES) < 0.25, random.integers(0, 1000, NUM_IMAGES), targets)
    probability = random.random(NUM_IMAGES)
    rows = (
        f"{validation_name(number + 1)},{predicted[number]},{probability[number]:.3f}\n" for number in range(NUM_IMAGES)
    )
    return ("file_name,top1,predicted_probability\n" + "".join(rows)).encode()


def _write_files(folder: Path, prepared: list[list[bytes]]) -> list[list[Path]]:
    """Write 50,000 files in 250 folders: copies of prepared thumbnails. Return 60 of them for each page."""
    contents = [content for page in prepared for content in page]
    paths = []
    for number in range(NUM_IMAGES):
        path = folder / f"{number % 250:03}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[number % len(contents)])
        paths.append(path)
    shuffled = np.random.default_rng(1).permutation(NUM_IMAGES)
    return [[paths[index] for index in shuffled[page * PAGE_SIZE :][:PAGE_SIZE]] for page in range(len(prepared))]


def _read(paths: list[Path]) -> None:
    for path in paths:
        path.read_bytes()


def _first_paints(url: str) -> list[float]:
    """Return the seconds until the first contentful paint, each with an empty cache; empty without Chromium."""
    program = shutil.which("chromium")
    if program is None:
        return []
    from playwright.sync_api import sync_playwright  # only on machines that run the browser tests

    paints = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for _ in range(7):
            context = browser.new_context(viewport={"width": 1300, "height": 900})
            page = context.new_page()
            page.goto(url, wait_until="load")
            page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
            paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            paints.append(paint / 1000)
            context.close()
        browser.close()
    return paints


def main() -> None:
    """Print the parts of a page in milliseconds."""
    measured = measure_parts(paint=True)
    rows = {
        f"duration of the first grid, with the verdicts of {NUM_MODELS} other analyses": measured.first_grid,
        "duration of a grid on the server": measured.grid,
        "processor time of the page": measured.page,
        f"processor time of reading {PAGE_SIZE} prepared files": measured.files,
    }
    for name, seconds in rows.items():
        print(f"{name}: {1000 * seconds:.2f} ms")
    paint = f"{1000 * median(measured.paints):.0f} ms" if measured.paints else "not measured: Chromium is missing"
    print(f"first contentful paint, 1,300 px, empty cache: {paint}")
    print(f"ratio to {FILES.reference}: {measured.page / measured.files:.1f} (aim: {FILES.aim})")


if __name__ == "__main__":
    main()

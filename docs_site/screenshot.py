"""Take the screenshot of a report for README.md and the home page: `make screenshot`."""

import argparse
import io
import shutil
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

WIDTH, HEIGHT = 1300, 1000  # pixels
COLORS = 128  # size of the palette; a report has few colors, so the file stays under 300 kB


def take_screenshot(
    report: Path, output: Path, height: int = HEIGHT, prepare: Callable[[Page], object] | None = None
) -> None:
    """Write the top of a report, or the part to which `prepare` scrolls, as a PNG with a palette.

    Args:
        report: A report as an HTML file.
        output: The PNG file to write.
        height: Height of the screenshot in pixels.
        prepare: Called with the page before the screenshot.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("No chromium found. Run tests/scripts/install-chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": height}, color_scheme="light")
        page.goto(report.resolve().as_uri())
        if prepare is not None:
            prepare(page)
        picture = page.screenshot()
        browser.close()
    image = Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    image.save(output, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    take_screenshot(arguments.report, arguments.output)

"""Take the pictures of the tutorial "Your own classes": `make tutorial-pictures`."""

import argparse
import json
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from docs_site.screenshot import take_screenshot

TILE, GAP = 96, 8  # pixels
COUNT = 8


def failures(folder: Path) -> list[str]:
    """Return the file names of the model failures with the highest probabilities."""
    lines = (folder / "first" / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["error_type"] == "model_failure"]
    return [row["file_name"] for row in sorted(rows, key=lambda row: -row["probability"])[:COUNT]]


def write_tiles(images: list[Path], output: Path) -> None:
    """Write images side by side."""
    canvas = Image.new("L", (len(images) * (TILE + GAP) - GAP, TILE), 255)
    for number, path in enumerate(images):
        with Image.open(path) as image:
            canvas.paste(image.resize((TILE, TILE), Image.Resampling.NEAREST), (number * (TILE + GAP), 0))
    canvas.save(output, optimize=True)


def open_second_error(page: Page) -> None:
    """Open the evidence of the second error, whose label is doubtful, and scroll to the list of errors."""
    page.locator("section[aria-labelledby=errors] td:visible button").nth(1).click()
    page.locator("#errors").evaluate("heading => heading.scrollIntoView()")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="The folder of the tutorial.")
    parser.add_argument("output", type=Path, help="The folder of the pictures.")
    arguments = parser.parse_args()
    report = arguments.folder / "first" / "report.html"
    take_screenshot(report, arguments.output / "digits-report.png", height=900)
    take_screenshot(report, arguments.output / "digits-error.png", height=560, prepare=open_second_error)
    images = [arguments.folder / "images" / name for name in failures(arguments.folder)]
    write_tiles(images, arguments.output / "digits-failures.png")

"""Reviews in a folder of 100,000: of one image, after a new one, and at the start of a process."""

import json
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import TypeAdapter

from benchmarks.harness import Case, Result, at_most, medians, timed
from service.archive.files import FolderFiles
from service.archive.record_log import SCHEMA, RecordLog
from service.domain import Review, review_keys

FEW, MANY = 100, 100_000
IMAGES = 20_000
TIMES = 10
START = datetime(2025, 1, 1, tzinfo=UTC)
OF_IMAGE = Case("reviews.image", f"the reviews of an image among {MANY:,} reviews", f"among {FEW:,}", "ms", at_most(3))
AFTER_NEW = Case(
    "reviews.new",
    f"the reviews of an image after a new review among {MANY:,}",
    "listing the folder",
    "ms",
    at_most(4),
)
AT_START = Case(
    "reviews.start", f"the first read of {MANY:,} reviews", "reading and parsing their files", "s", at_most(6)
)


def measure() -> Iterator[Result]:
    """Yield the results."""
    with tempfile.TemporaryDirectory() as folder:
        few, many = (_fill(Path(folder) / str(count), count) for count in (FEW, MANY))
        yield AT_START.measured(*medians(timed(lambda: _read(many)), timed(lambda: _parse(many)), times=1, warm=0))
        logs = [_open(few), _open(many)]
        for log in logs:
            log.all()
        key = ("demo", _review(50).image)
        yield OF_IMAGE.measured(
            *medians(timed(lambda: logs[1].find(key)), timed(lambda: logs[0].find(key)), times=TIMES)
        )
        numbers = iter(range(MANY, 2 * MANY))
        values = []
        references = []
        for _ in range(TIMES):
            logs[0].all()
            RecordLog(FolderFiles(many), Review).append(_review(next(numbers)))  # as another process does
            values.append(timed(lambda: logs[1].find(key))())
            references.append(timed(lambda: os.listdir(many))())
        yield AFTER_NEW.measured(sorted(values)[TIMES // 2], sorted(references)[TIMES // 2])


def _fill(folder: Path, count: int) -> Path:
    folder.mkdir()
    adapter = TypeAdapter(Review)
    for number in range(count):
        review = _review(number)
        document = {"schema": SCHEMA} | adapter.dump_python(review, mode="json")
        (folder / f"{review.id}.json").write_text(json.dumps(document))
    return folder


def _review(number: int) -> Review:
    image, time = f"image_{number % IMAGES:06}.jpg", START + timedelta(seconds=number)
    return Review(
        f"{number:032x}", "demo", image, "e" * 64, "ann", True, time, rejected=("n01440764",), comment="x" * 50
    )


def _open(folder: Path) -> RecordLog[Review]:
    return RecordLog(FolderFiles(folder), Review, review_keys)


def _read(folder: Path) -> None:
    assert len(_open(folder).all()) == MANY


def _parse(folder: Path) -> None:
    for name in os.listdir(folder):
        json.loads((folder / name).read_bytes())

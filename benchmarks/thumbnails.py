"""Thumbnails: a page of 60 that are cached, a page of new ones, and writes to a full cache of 50,000."""

import asyncio
import hashlib
import io
import random
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from PIL import Image
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from benchmarks.harness import Case, Result, at_most, medians, timed
from service.predictions.pictures.cache import PictureCache
from service.predictions.pictures.messages import PictureRequest
from service.predictions.thumbnails import THUMBNAIL, Thumbnails
from service.report.picture_urls import thumbnail_url
from service.telemetry import Metrics
from service.web.application import SiteContent, make_application
from service.web.pictures import Pictures

COUNT = 50_000
PAGE = 60  # thumbnails
PREPARED = 5_000  # files of the reference
BYTES = 12_000  # of a thumbnail of a photograph
SHAPE = (500, 375)  # pixels of a photograph of ImageNet
TIMES = 15
CACHED = Case(
    "thumbnails.cached",
    f"{PAGE} of {COUNT:,} cached thumbnails through the application, without a network",
    "reading their prepared files",
    "ms",
    at_most(40),  # a request through Starlette and a thread takes 0.6 ms, and reading a file 0.03 ms
)
MADE = Case(
    "thumbnails.made",
    f"{PAGE} new thumbnails: read, decoded in a sandboxed process, written to the cache",
    "decoding, resizing, and encoding them with Pillow in this process",
    "ms",
    at_most(2.5),
)
FULL = Case(
    "thumbnails.full",
    f"{PAGE} writes to a cache of {COUNT:,} that is full: they remove others",
    f"{PAGE} writes to an empty cache",
    "ms",
    at_most(20),
)


class PreparedDecoder:
    """Returns bytes of the size of a thumbnail, so that a full cache takes seconds instead of minutes."""

    def make(self, content: bytes, request: PictureRequest) -> bytes:
        """Return bytes that only the image determines."""
        return (hashlib.sha256(content).digest() * (BYTES // 32 + 1))[:BYTES]

    def stop(self) -> None:
        """Do nothing."""


def measure() -> Iterator[Result]:
    """Yield the results."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield _measure_cached(folder)
        yield _measure_made(folder)
        yield _measure_full(folder)


def _measure_cached(folder: Path) -> Result:
    images, prepared = folder / "images.tar", folder / "prepared"
    names = [f"{number:05}.jpg" for number in range(COUNT)]
    prepared.mkdir()
    with tarfile.open(images, "w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    for name in names[:PREPARED]:
        (prepared / name).write_bytes(bytes(BYTES))
    thumbnails = Thumbnails({"own": images}, PictureCache(folder / "cache", 1 << 40), PreparedDecoder())
    for name in names:
        thumbnails.thumbnail("own", name)
    pictures = Pictures(thumbnails)
    app = make_application(Metrics(CollectorRegistry()), lambda: True, SiteContent(pictures.routes()))
    draw = random.Random(1)

    async def request_page(page: Sequence[str]) -> None:
        statuses = [await _request(app, thumbnail_url("own", name)) for name in page]
        assert statuses == [200] * PAGE, statuses

    with asyncio.Runner() as runner:
        try:
            values = medians(
                timed(lambda: runner.run(request_page(draw.sample(names, PAGE)))),
                timed(lambda: [(prepared / name).read_bytes() for name in draw.sample(names[:PREPARED], PAGE)]),
                times=TIMES,
            )
        finally:
            pictures.stop()
    return CACHED.measured(*values)


async def _request(app: ASGIApp, url: str) -> int:
    """Send a request to an application; return the status."""
    statuses = []

    async def receive() -> Mapping[str, object]:
        return {"type": "http.request", "body": b""}

    async def send(message: Mapping[str, object]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {"type": "http", "method": "GET", "path": url, "raw_path": url.encode(), "query_string": b"", "headers": []}
    await app(scope | {"root_path": "", "client": None}, receive, send)  # type: ignore[arg-type]
    return int(str(statuses[0]))


def _measure_made(folder: Path) -> Result:
    """Each image has its own file, so that none is in the cache."""
    photographs, pages = folder / "photographs", TIMES + 2  # two of them warm up
    photographs.mkdir()
    blur = Image.effect_noise((SHAPE[0] // 8, SHAPE[1] // 8), 80).convert("RGB").resize(SHAPE)
    content = io.BytesIO()
    blur.save(content, "JPEG", quality=90)
    names = [f"{number:05}.jpg" for number in range(pages * PAGE)]
    for name in names:
        (photographs / name).write_bytes(content.getvalue())
    thumbnails = Thumbnails({"own": photographs}, PictureCache(folder / "made", 1 << 30))
    remaining = iter(names)
    assert thumbnails.thumbnail("own", names[-1]) is not None  # starts the process

    def make() -> None:
        for name in [next(remaining) for _ in range(PAGE)]:
            assert thumbnails.thumbnail("own", name) is not None

    def make_with_pillow() -> None:
        for name in names[:PAGE]:
            with Image.open(photographs / name) as image:
                image.thumbnail((THUMBNAIL.size, THUMBNAIL.size))
                image.save(io.BytesIO(), "JPEG", quality=THUMBNAIL.quality)

    try:
        return MADE.measured(*medians(timed(make), timed(make_with_pillow), times=TIMES))
    finally:
        thumbnails.stop()


def _measure_full(folder: Path) -> Result:
    """Fill up the cache of the first case."""
    bound = int((folder / "cache" / "total").read_bytes())
    full, empty = PictureCache(folder / "cache", bound), PictureCache(folder / "empty", bound)
    numbers = iter(range(10 * PAGE))

    def write(cache: PictureCache) -> None:
        for number in [next(numbers) for _ in range(PAGE)]:
            cache.write(hashlib.sha256(str(number).encode()).hexdigest(), bytes(BYTES))

    return FULL.measured(*medians(timed(lambda: write(full)), timed(lambda: write(empty)), times=1, warm=0))


if __name__ == "__main__":
    for result in measure():
        value, reference = 1000 * result.value, 1000 * result.reference
        print(f"{result.case.name}: {value:.1f} ms / {reference:.1f} ms = {result.ratio:.2f}")

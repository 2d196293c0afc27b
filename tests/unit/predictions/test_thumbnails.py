"""Pictures of a data set's images: found by name in folders, tar files, and stores; cached; None if unreadable."""

import io
import os
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
import structlog
from errata.errors import TooBusy
from PIL import Image
from unit.predictions.pictures.pictures import decode, encode

from service import image_formats
from service.predictions import thumbnails as module
from service.predictions.image_sources import LIST_SECONDS
from service.predictions.pictures.cache import PictureCache
from service.predictions.pictures.decoder import InProcessDecoder
from service.predictions.pictures.messages import PictureRequest, SlowPicture
from service.predictions.thumbnails import PICTURE, Thumbnails

FILES = {
    "n01440764/a.JPEG": encode(Image.new("RGB", (800, 400), "red"), "JPEG"),
    "n01440764/b.png": encode(Image.new("RGBA", (10, 20), (0, 0, 255, 128))),
    "deep/er/größe & <b>.png": encode(Image.new("RGB", (4, 4))),
    "torn.jpg": b"\xff\xd8\xff not a picture",
    "page.png": b"<!doctype html><script>alert(1)</script>",
    "notes.txt": b"no image",
}


class CountingDecoder(InProcessDecoder):
    """Counts the images that it decodes."""

    def __init__(self) -> None:
        self.count = 0

    def make(self, content: bytes, request: PictureRequest) -> bytes:
        self.count += 1
        return super().make(content, request)


def write_folder(folder: Path) -> str:
    for name, content in FILES.items():
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "images" / name).write_bytes(content)
    return str(folder / "images")


def write_tar(folder: Path) -> str:
    with tarfile.open(folder / "images.tar", "w") as archive:
        for name, content in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return str(folder / "images.tar")


def write_store(folder: Path) -> str:
    for name, content in FILES.items():
        fsspec.filesystem("memory").pipe_file(f"{folder}/{name}", content)
    return f"memory:/{folder}"


@pytest.fixture(params=[write_folder, write_tar, write_store])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    yield request.param(tmp_path)
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(write_folder(tmp_path))


Make = Callable[..., Thumbnails]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return thumbnails with a cache on disk, in which each call starts as a new process does."""

    def create(source: str | Path, decoder: InProcessDecoder | None = None) -> Thumbnails:
        cache = PictureCache(tmp_path / "cache", 1 << 24)
        return Thumbnails({"own": source}, cache, decoder or InProcessDecoder())

    return create


@pytest.mark.parametrize("name", ["n01440764/a.JPEG", "a.JPEG"])
def test_a_thumbnail_has_the_proportions_of_its_image(make: Make, source: str, name: str) -> None:
    assert decode(make(source).thumbnail("own", name, 100)).size == (100, 50)
    assert decode(make(source).thumbnail("own", name)).size == (256, 128)
    assert decode(make(source).load("own", name, PICTURE)).size == (800, 400)


def test_a_picture_of_a_large_image_is_bounded(make: Make, tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    Image.new("RGB", (4096, 1024)).save(tmp_path / "large" / "a.png")

    assert decode(make(tmp_path / "large").load("own", "a.png", PICTURE)).size == (2048, 512)


@pytest.mark.parametrize("name", ["b.png", "größe & <b>.png", "er/größe & <b>.png", "deep/er/größe & <b>.png"])
def test_images_are_found_by_path_by_the_last_two_parts_and_by_file_name(make: Make, source: str, name: str) -> None:
    assert decode(make(source).thumbnail("own", name)).format == "JPEG"


@pytest.mark.parametrize(
    "name",
    [
        *("torn.jpg", "page.png", "notes.txt", "nothing.jpg", "", ".", "..", "n01440764", "/a.JPEG", "./a.JPEG"),
        *("../images/a.JPEG", "n01440764/../torn.jpg", "/etc/passwd", "..\\a.JPEG", "%2e%2e/a.JPEG", "a.jpeg"),
        *("\0", "\udcff.png", "a" * 70_000),
    ],
)
def test_other_names_and_damaged_images_have_no_picture(make: Make, source: str, name: str) -> None:
    thumbnails = make(source)

    assert (thumbnails.thumbnail("own", name), thumbnails.load("own", name, PICTURE)) == (None, None)
    assert thumbnails.version("own", name) == "" or name in FILES


def test_links_that_lead_out_of_the_folder_have_no_picture(make: Make, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    Image.new("RGB", (5, 5)).save(tmp_path / "outside" / "secret.png")
    (folder / "file.png").symlink_to(tmp_path / "outside" / "secret.png")
    (folder / "folder").symlink_to(tmp_path / "outside")
    (folder / "inside.png").symlink_to(folder / "n01440764" / "b.png")
    thumbnails = make(folder)

    assert [thumbnails.thumbnail("own", name) for name in ("file.png", "folder/secret.png", "secret.png")] == [None] * 3
    assert decode(thumbnails.thumbnail("own", "inside.png")).size == (10, 20)


def test_reading_a_pipe_or_a_folder_does_not_block(make: Make, folder: Path) -> None:
    os.mkfifo(folder / "pipe.jpg")
    (folder / "folder.jpg").mkdir()

    assert [make(folder).thumbnail("own", name) for name in ("pipe.jpg", "folder.jpg")] == [None, None]


def test_a_file_above_the_limit_is_not_read(make: Make, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", len(FILES["n01440764/b.png"]))

    assert make(source).thumbnail("own", "b.png") is not None
    assert make(source).thumbnail("own", "a.JPEG") is None


def test_only_places_that_exist_have_pictures(source: str, tmp_path: Path) -> None:
    thumbnails = Thumbnails({"own": source, "gone": tmp_path / "gone", "gone.tar": str(tmp_path / "gone.tar")})

    assert [thumbnails.has(name) for name in ("own", "gone", "gone.tar", "other")] == [True, False, False, False]
    assert [thumbnails.thumbnail(name, "a.JPEG") for name in ("gone", "gone.tar", "other")] == [None] * 3
    assert thumbnails.version("other", "a.JPEG") == ""


def test_a_picture_is_made_once_for_all_processes(make: Make, source: str) -> None:
    decoder = CountingDecoder()
    pictures = [make(source, decoder).thumbnail("own", name) for name in ("a.JPEG", "n01440764/a.JPEG", "a.JPEG")]

    assert decoder.count == 1 and len({*pictures}) == 1
    make(source, decoder).thumbnail("own", "a.JPEG", 50)
    make(source, decoder).load("own", "a.JPEG", PICTURE)
    assert decoder.count == 3


def test_only_the_cache_is_searched_for_a_thumbnail_that_is_already_made(make: Make, folder: Path) -> None:
    decoder = CountingDecoder()
    thumbnails = make(folder, decoder)
    assert thumbnails.find_cached("own", "a.JPEG") is None and decoder.count == 0

    assert thumbnails.thumbnail("own", "a.JPEG") == make(folder, decoder).find_cached("own", "a.JPEG")
    (folder / "n01440764" / "a.JPEG").unlink()
    assert thumbnails.find_cached("own", "a.JPEG") is None
    assert Thumbnails({"own": folder}, None, decoder).find_cached("own", "b.JPEG") is None and decoder.count == 1


def test_a_changed_file_has_another_version_and_another_picture(make: Make, folder: Path) -> None:
    thumbnails = make(folder)
    before = thumbnails.version("own", "a.JPEG"), thumbnails.thumbnail("own", "a.JPEG")
    assert thumbnails.version("own", "a.JPEG") == before[0] == make(folder).version("own", "n01440764/a.JPEG")

    Image.new("RGB", (400, 800), "blue").save(folder / "n01440764" / "a.JPEG")

    assert thumbnails.version("own", "a.JPEG") != before[0] != ""
    assert decode(thumbnails.thumbnail("own", "a.JPEG")).size == (128, 256)


@pytest.mark.parametrize("name", ["a.JPEG", "b.png"])
def test_an_image_that_decodes_otherwise_has_another_version_and_another_picture(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    thumbnails = make(folder)
    version, picture = thumbnails.version("own", name), thumbnails.thumbnail("own", name)
    assert thumbnails.find_cached("own", name) == picture
    monkeypatch.setattr(image_formats, "DECODING", "3")

    is_same = name == "a.JPEG"
    assert (thumbnails.version("own", name) == version) == is_same
    assert thumbnails.find_cached("own", name) == (picture if is_same else None)


def test_a_deleted_file_has_no_picture(make: Make, folder: Path) -> None:
    thumbnails = make(folder)
    assert thumbnails.thumbnail("own", "a.JPEG") is not None
    (folder / "n01440764" / "a.JPEG").unlink()

    assert (thumbnails.thumbnail("own", "a.JPEG"), thumbnails.version("own", "a.JPEG")) == (None, "")


def test_images_of_a_tar_file_have_different_versions(make: Make, tmp_path: Path) -> None:
    thumbnails = make(write_tar(tmp_path))

    assert len({thumbnails.version("own", name) for name in ("a.JPEG", "b.png", "torn.jpg")}) == 3


def test_an_unreadable_image_is_decoded_once(make: Make, source: str) -> None:
    decoder = CountingDecoder()
    thumbnails = make(source, decoder)

    with structlog.testing.capture_logs() as logs:
        assert [thumbnails.thumbnail("own", "torn.jpg") for _ in range(3)] == [None] * 3

    assert decoder.count == 1
    assert [log["name"] for log in logs if log["event"] == "picture cannot be made"] == ["torn.jpg"]


def test_an_image_that_takes_too_long_is_decoded_again_later(
    make: Make, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SlowDecoder(CountingDecoder):
        def make(self, content: bytes, request: PictureRequest) -> bytes:
            self.count += 1
            raise SlowPicture("too slow")

    for seconds, count in ((600.0, 1), (0.0, 2)):
        monkeypatch.setattr(module, "SLOW_SECONDS", seconds)
        decoder = SlowDecoder()
        pictures = make(source, decoder)
        assert [pictures.load("own", "a.JPEG", PICTURE) for _ in range(2)] == [None, None]
        assert decoder.count == count


def test_the_memory_of_unreadable_images_is_bounded(make: Make, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FAILED", 3)
    thumbnails = make(source)
    for size in range(1, 20):
        thumbnails.thumbnail("own", "torn.jpg", size)

        assert len(thumbnails._failed) <= 3


def test_a_busy_decoder_is_an_error_and_not_a_missing_image(make: Make, source: str) -> None:
    class BusyDecoder(InProcessDecoder):
        def make(self, content: bytes, request: PictureRequest) -> bytes:
            raise TooBusy("Too many files are being parsed.", retry_after=5)

    thumbnails = make(source, BusyDecoder())

    with pytest.raises(TooBusy):
        thumbnails.load("own", "a.JPEG", PICTURE)
    assert thumbnails.thumbnail("own", "a.JPEG") is None  # a report has no picture then


def test_images_are_listed_again_after_a_failure(make: Make, tmp_path: Path, monkeypatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    thumbnails = make(tmp_path / "images")
    with structlog.testing.capture_logs() as logs:
        assert [thumbnails.thumbnail("own", "a.JPEG") for _ in range(3)] == [None] * 3
    assert [log["event"] for log in logs] == ["images cannot be listed"]

    write_folder(tmp_path)
    assert thumbnails.thumbnail("own", "a.JPEG") is None
    clock[0] += LIST_SECONDS
    assert decode(thumbnails.thumbnail("own", "a.JPEG")).size == (256, 128)


def test_a_store_that_fails_has_no_pictures_for_now(make: Make, tmp_path: Path, monkeypatch) -> None:
    thumbnails = make(write_store(tmp_path))
    assert thumbnails.version("own", "a.JPEG")
    cat_file = fsspec.filesystem("memory").__class__.cat_file

    def fail(*_: object, **__: object) -> bytes:
        raise ConnectionError("store down")

    monkeypatch.setattr(fsspec.filesystem("memory").__class__, "cat_file", fail)
    assert thumbnails.thumbnail("own", "a.JPEG") is None
    monkeypatch.setattr(fsspec.filesystem("memory").__class__, "cat_file", cat_file)
    assert decode(thumbnails.thumbnail("own", "a.JPEG")).size == (256, 128)
    fsspec.filesystem("memory").store.clear()


def test_without_a_cache_pictures_are_made_each_time(source: str) -> None:
    decoder = CountingDecoder()
    thumbnails = Thumbnails({"own": source}, decoder=decoder)
    assert thumbnails.thumbnail("own", "a.JPEG") == thumbnails.thumbnail("own", "a.JPEG")
    assert decoder.count == 2

"""Images are opened by name, and damaged ones raise UnreadableImage."""

import io
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import pytest
from errata.errors import ImagesMissing
from PIL import Image

from service.predictions import image_sources
from service.predictions.image_files import ImageLocation
from service.predictions.image_sources import LIST_SECONDS, find_images
from service.predictions.models.images import MAX_BYTES, MAX_PIXELS, ImageFolder, UnreadableImage


def png(width: int, height: int) -> bytes:
    """Return a PNG with a stated size and no pixels, like a decompression bomb."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_images_of_any_mode_are_converted_to_rgb(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (5, 4)).save(tmp_path / "a.jpg")

    image = ImageFolder(tmp_path).open("a.jpg")

    assert (image.mode, image.size) == ("RGB", (5, 4))


def test_the_format_of_an_image_is_recognized_by_its_bytes(tmp_path: Path) -> None:
    Image.new("RGB", (5, 4)).save(tmp_path / "n02105855_2933.JPEG", format="PNG")  # ImageNet has one like this

    assert ImageFolder(tmp_path).open("n02105855_2933.JPEG").size == (5, 4)


def test_a_missing_image_is_reported(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")

    with pytest.raises(UnreadableImage, match="No image, or more than one, has this name"):
        ImageFolder(tmp_path).open("b.png")


def whole() -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, format="JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an image in one of the formats BMP"),
        (b"no image", "not an image in one of the formats BMP"),
        (whole()[: len(whole()) // 2], "truncated"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image in one"),  # PIL would run Ghostscript
        (png(8193, 8193), r"8193 x 8193 pixels. Expected at most 67,108,864"),
        (png(10_000, 10_000), "decompression bomb"),
        (png(60_000, 60_000), "decompression bomb"),
    ],
    ids=["empty", "text", "truncated", "postscript", "large", "bomb", "huge-bomb"],
)
def test_a_damaged_image_is_reported_with_the_reason(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.jpg").write_bytes(content)

    with pytest.raises(UnreadableImage, match=message):
        ImageFolder(tmp_path).open("bad.jpg")


def test_an_image_within_the_limit_is_not_treated_as_a_bomb(tmp_path: Path) -> None:
    side = 8192
    assert side * side == MAX_PIXELS
    (tmp_path / "a.png").write_bytes(png(side, side))

    with pytest.raises(UnreadableImage) as caught:  # it has no pixels, but that is found by decoding
        ImageFolder(tmp_path).open("a.png")
    assert "pixels" not in str(caught.value)


@pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000), (201, 2)])
def test_an_image_with_an_extreme_aspect_ratio_is_unreadable(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("L", size).save(tmp_path / "a.png")

    with pytest.raises(UnreadableImage, match=f"{size[0]} x {size[1]} pixels.*factor of at most 100"):
        ImageFolder(tmp_path).open("a.png")


@pytest.mark.parametrize("size", [(200, 2), (2, 200)])
def test_an_image_within_the_bound_on_the_aspect_ratio_is_opened(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("L", size).save(tmp_path / "a.png")

    assert ImageFolder(tmp_path).open("a.png").size == size


@pytest.mark.processes
def test_an_image_that_exceeds_the_memory_is_unreadable(tmp_path: Path) -> None:
    Image.new("RGB", (8000, 8000)).save(tmp_path / "a.png")  # 192 MB decoded
    program = f"""
import resource
from pathlib import Path
from service.predictions.models.images import UnreadableImage, ImageFolder
images = ImageFolder(Path({str(tmp_path)!r}))
images.images()
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + (100 << 20), resource.RLIM_INFINITY))
try:
    images.open("a.png")
except UnreadableImage as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "Decoding the image takes more memory than is available. Reduce the size of the image.\n"


def test_a_file_over_the_size_limit_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # takes no space

    with pytest.raises(UnreadableImage, match=f"{MAX_BYTES + 1:,} bytes. Expected at most {MAX_BYTES:,}"):
        ImageFolder(tmp_path).open("a.jpg")


def test_an_image_deleted_after_the_folder_was_listed_is_reported(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    images = ImageFolder(tmp_path)
    images.open("a.png")
    (tmp_path / "a.png").unlink()

    with pytest.raises(UnreadableImage, match="No such file"):
        images.open("a.png")


def test_images_that_are_added_after_the_folder_was_listed_are_found(tmp_path: Path, monkeypatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    images = ImageFolder(tmp_path)
    assert images.version("b.png") == ""
    Image.new("L", (5, 5)).save(tmp_path / "b.png")
    assert images.version("b.png") == "", "listings take a limited share of the time"

    clock[0] += LIST_SECONDS

    assert images.version("b.png")
    assert images.open("b.png").size == (5, 5)


def test_a_listing_that_fails_is_reported_with_one_error(tmp_path: Path, monkeypatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    images = ImageFolder(tmp_path / "images")
    depths = []
    for _ in range(3):
        with pytest.raises(ImagesMissing) as caught:
            images.open("a.png")
        depths.append(len(caught.traceback))
    assert len({*depths[1:]}) == 1, "the traceback of the stored error does not grow"

    def fail(path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "is_dir", fail)
        with pytest.raises(ImagesMissing, match="Permission denied"):
            ImageFolder(tmp_path).open("a.png")


def test_a_known_image_and_a_missing_one_do_not_wait_for_a_listing(tmp_path: Path, monkeypatch) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    images = ImageFolder(tmp_path)
    images.open("a.png")
    is_listing, may_end = threading.Event(), threading.Event()

    def list_slowly(location: Path | str) -> Mapping[str, ImageLocation]:
        is_listing.set()
        assert may_end.wait(10)
        return find_images(location)

    monkeypatch.setattr(image_sources, "find_images", list_slowly)
    monkeypatch.setattr(images, "_next_listing", 0.0)
    other = threading.Thread(target=images.find, args=("b.png",))
    other.start()
    assert is_listing.wait(10)
    assert images.find("c.png") is None
    assert images.find("a.png") is not None
    may_end.set()
    other.join()


def test_a_tar_file_that_was_replaced_is_listed_again(tmp_path: Path, monkeypatch) -> None:
    """Its old ranges can have other images, of equal size, in another order."""
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    pixels = {}
    for name, color in (("a.bmp", 10), ("b.bmp", 200)):
        content = BytesIO()
        Image.new("L", (4, 4), color).save(content, "BMP")
        pixels[name] = content.getvalue()
    path = tmp_path / "images.tar"

    def write(*names: str) -> None:
        with tarfile.open(tmp_path / "new.tar", "w") as archive:
            for name in names:
                info = tarfile.TarInfo(name)
                info.size = len(pixels[name])
                archive.addfile(info, BytesIO(pixels[name]))
        (tmp_path / "new.tar").replace(path)

    write("a.bmp", "b.bmp")
    images = ImageFolder(path)
    before = images.version("a.bmp")
    assert images.open("a.bmp").getpixel((0, 0)) == (10, 10, 10)
    location = images.find("a.bmp")

    write("b.bmp", "a.bmp")

    assert location is not None
    with pytest.raises(OSError, match=r"images\.tar was replaced"):
        location.read(1000)
    assert images.open("a.bmp").getpixel((0, 0)) == (10, 10, 10)
    assert images.version("a.bmp") not in ("", before)

    path.write_bytes(path.read_bytes()[:600])  # another program writes the file
    for _ in range(2):
        with pytest.raises(UnreadableImage):
            images.open("a.bmp")
    write("a.bmp", "b.bmp")
    clock[0] += LIST_SECONDS
    assert images.open("a.bmp").getpixel((0, 0)) == (10, 10, 10)


def test_a_missing_folder_raises_images_missing(tmp_path: Path) -> None:
    with pytest.raises(ImagesMissing, match="ERRATA_IMAGES"):
        ImageFolder(tmp_path / "nowhere").open("a.png")

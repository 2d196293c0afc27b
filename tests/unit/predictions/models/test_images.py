"""Images, opened by name; whatever damage one has, it is told and nothing else happens."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from errata.errors import ImagesMissing
from PIL import Image

from service.predictions.models.images import MAX_BYTES, MAX_PIXELS, BadImage, ImageFolder


def png(width: int, height: int) -> bytes:
    """A PNG that says it has this size and holds no pixels: what a decompression bomb looks like from outside."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_an_image_is_opened_in_rgb_whatever_its_mode(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (5, 4)).save(tmp_path / "a.jpg")

    image = ImageFolder(tmp_path).open("a.jpg")

    assert (image.mode, image.size) == ("RGB", (5, 4))


def test_the_name_and_not_the_suffix_says_which_image_and_the_bytes_say_which_format(tmp_path: Path) -> None:
    Image.new("RGB", (5, 4)).save(tmp_path / "n02105855_2933.JPEG", format="PNG")  # ImageNet has one like this

    assert ImageFolder(tmp_path).open("n02105855_2933.JPEG").size == (5, 4)


def test_a_missing_image_is_told(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")

    with pytest.raises(BadImage, match="no such file"):
        ImageFolder(tmp_path).open("b.png")


def whole() -> bytes:
    held = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(held, format="JPEG")
    return held.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "decoded: it is none of BMP"),
        (b"no image", "decoded: it is none of BMP"),
        (whole()[: len(whole()) // 2], "truncated"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is none of"),  # would start another program
        (png(8193, 8193), r"at most 67108864 pixels, got 8193 x 8193"),
        (png(10_000, 10_000), "decompression bomb"),
        (png(60_000, 60_000), "decompression bomb"),
    ],
    ids=["empty", "text", "truncated", "postscript", "large", "bomb", "huge-bomb"],
)
def test_a_damaged_image_is_told_with_the_reason(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "bad.jpg").write_bytes(content)

    with pytest.raises(BadImage, match=told):
        ImageFolder(tmp_path).open("bad.jpg")


def test_an_image_within_the_limit_isnt_taken_for_a_bomb(tmp_path: Path) -> None:
    side = 8192
    assert side * side == MAX_PIXELS
    (tmp_path / "a.png").write_bytes(png(side, side))

    with pytest.raises(BadImage) as caught:  # it has no pixels, but that is found by decoding
        ImageFolder(tmp_path).open("a.png")
    assert "pixels" not in str(caught.value)


@pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000), (201, 2)])
def test_an_image_of_an_extreme_aspect_ratio_is_damaged(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("L", size).save(tmp_path / "a.png")

    with pytest.raises(BadImage, match=f"factor of at most 100, got {size[0]} x {size[1]}"):
        ImageFolder(tmp_path).open("a.png")


@pytest.mark.parametrize("size", [(200, 2), (2, 200)])
def test_an_image_within_the_bound_on_the_aspect_ratio_is_opened(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("L", size).save(tmp_path / "a.png")

    assert ImageFolder(tmp_path).open("a.png").size == size


@pytest.mark.processes
def test_an_image_that_memory_does_not_hold_is_damaged(tmp_path: Path) -> None:
    Image.new("RGB", (8000, 8000)).save(tmp_path / "a.png")  # 192 MB decoded
    program = f"""
import resource
from pathlib import Path
from service.predictions.models.images import BadImage, ImageFolder
images = ImageFolder(Path({str(tmp_path)!r}))
images.places
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + (100 << 20), resource.RLIM_INFINITY))
try:
    images.open("a.png")
except BadImage as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "it takes more memory to decode than there is\n"


def test_a_file_that_is_no_photograph_by_its_size_isnt_read(tmp_path: Path) -> None:
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # takes no space

    with pytest.raises(BadImage, match=f"at most {MAX_BYTES} bytes, got {MAX_BYTES + 1}"):
        ImageFolder(tmp_path).open("a.jpg")


def test_an_image_that_vanished_after_the_folder_was_listed_is_told(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    images = ImageFolder(tmp_path)
    images.open("a.png")
    (tmp_path / "a.png").unlink()

    with pytest.raises(BadImage, match="No such file"):
        images.open("a.png")


def test_a_missing_folder_is_no_damage_of_an_image(tmp_path: Path) -> None:
    with pytest.raises(ImagesMissing, match="ERRATA_IMAGES"):
        ImageFolder(tmp_path / "nowhere").open("a.png")

"""Thumbnails: small JPEGs of images in plain folders; None for images that cannot be read."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from service.predictions import thumbnails
from service.predictions.thumbnails import Thumbnails


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images" / "n01440764").mkdir(parents=True)
    Image.new("RGB", (800, 400), "red").save(tmp_path / "images" / "n01440764" / "a.JPEG")
    Image.new("RGBA", (10, 20), (0, 0, 255, 128)).save(tmp_path / "images" / "n01440764" / "b.png")
    (tmp_path / "images" / "torn.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    Image.new("RGB", (5, 5)).save(tmp_path / "secret.png")
    (tmp_path / "images" / "link.png").symlink_to(tmp_path / "secret.png")
    return tmp_path / "images"


def size(content: bytes | None) -> tuple[int, int]:
    assert content is not None
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.format == "JPEG"
        return picture.size


@pytest.mark.parametrize("name", ["a.JPEG", "n01440764/a.JPEG"])
def test_a_thumbnail_has_the_proportions_of_its_image(folder: Path, name: str) -> None:
    assert size(Thumbnails({"own": folder}).thumbnail("own", name, 100)) == (100, 50)


def test_a_small_image_is_not_enlarged_and_loses_its_transparency(folder: Path) -> None:
    assert size(Thumbnails({"own": folder}).thumbnail("own", "b.png", 100)) == (10, 20)


@pytest.mark.parametrize(
    "name", ["torn.jpg", "nothing.jpg", "", "../secret.png", "link.png", "/etc/passwd", "n01440764"]
)
def test_damaged_missing_and_outside_images_have_no_thumbnail(folder: Path, name: str) -> None:
    assert Thumbnails({"own": folder}).thumbnail("own", name, 100) is None


def test_a_decompression_bomb_has_no_thumbnail(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "MAX_PIXELS", 100)

    assert Thumbnails({"own": folder}).thumbnail("own", "a.JPEG", 100) is None


def test_only_existing_plain_folders_have_thumbnails(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "images.tar").write_bytes(b"")
    thumbnails = Thumbnails({"own": folder, "tar": tmp_path / "images.tar", "gone": tmp_path / "gone"})

    assert [thumbnails.has(name) for name in ("own", "tar", "gone", "other")] == [True, False, False, False]
    assert thumbnails.thumbnail("other", "a.JPEG", 100) is None


def test_reading_a_pipe_does_not_block(folder: Path) -> None:
    os.mkfifo(folder / "pipe.jpg")

    assert Thumbnails({"own": folder}).thumbnail("own", "pipe.jpg", 100) is None


def test_a_thumbnail_is_cached(folder: Path) -> None:
    thumbnails = Thumbnails({"own": folder})
    first = thumbnails.thumbnail("own", "a.JPEG", 100)
    (folder / "n01440764" / "a.JPEG").unlink()

    assert thumbnails.thumbnail("own", "a.JPEG", 100) == first
    assert thumbnails.thumbnail("own", "a.JPEG", 50) is None


def test_images_of_an_own_data_set_are_found_by_the_name_in_its_labels(tmp_path: Path) -> None:
    """A name is a path below the folder, the last part of a path, or a bare name with any characters."""
    for path in ("a.png", "red/a.png", "red/only.png", "deep/er/blue/b.png", "größe & <b>.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / path)
    thumbnails = Thumbnails({"own": tmp_path})

    found = ["a.png", "red/a.png", "only.png", "blue/b.png", "deep/er/blue/b.png", "größe & <b>.png"]
    assert [name for name in found if thumbnails.thumbnail("own", name, 4) is None] == []
    assert thumbnails.thumbnail("own", "../a.png", 4) is None

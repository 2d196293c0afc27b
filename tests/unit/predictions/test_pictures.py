"""Pictures: small JPEGs of what lies in a plain folder; what can't be shown is none, never an error."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from service.predictions import pictures
from service.predictions.pictures import Pictures


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
def test_an_image_is_shown_by_either_of_its_names_in_its_proportions(folder: Path, name: str) -> None:
    assert size(Pictures({"own": folder}).thumbnail("own", name, 100)) == (100, 50)


def test_a_small_image_stays_as_it_is_and_transparency_goes(folder: Path) -> None:
    assert size(Pictures({"own": folder}).thumbnail("own", "b.png", 100)) == (10, 20)


@pytest.mark.parametrize(
    "name", ["torn.jpg", "nothing.jpg", "", "../secret.png", "link.png", "/etc/passwd", "n01440764"]
)
def test_what_is_torn_missing_or_outside_is_none(folder: Path, name: str) -> None:
    assert Pictures({"own": folder}).thumbnail("own", name, 100) is None


def test_a_bomb_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_PIXELS", 100)

    assert Pictures({"own": folder}).thumbnail("own", "a.JPEG", 100) is None


def test_only_plain_folders_that_are_there_have_pictures(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "images.tar").write_bytes(b"")
    repository = Pictures({"own": folder, "tar": tmp_path / "images.tar", "gone": tmp_path / "gone"})

    assert [repository.has(name) for name in ("own", "tar", "gone", "other")] == [True, False, False, False]
    assert repository.thumbnail("other", "a.JPEG", 100) is None


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe.jpg")

    assert Pictures({"own": folder}).thumbnail("own", "pipe.jpg", 100) is None


def test_a_picture_is_made_once(folder: Path) -> None:
    repository = Pictures({"own": folder})
    first = repository.thumbnail("own", "a.JPEG", 100)
    (folder / "n01440764" / "a.JPEG").unlink()

    assert repository.thumbnail("own", "a.JPEG", 100) == first
    assert repository.thumbnail("own", "a.JPEG", 50) is None

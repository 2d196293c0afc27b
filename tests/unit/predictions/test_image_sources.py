"""Images in folders and tar files are found by every name that identifies one image."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from errata.errors import ImagesMissing

from service.predictions.image_sources import find_images


def put(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture(params=["folder", "tar"])
def make_source(request: pytest.FixtureRequest, tmp_path: Path):
    """Put the same files in a folder or in a tar file."""

    def create(files: Mapping[str, bytes]) -> Path:
        if request.param == "folder":
            return put(tmp_path / "images", files)
        return put(tmp_path, {"images.tar": tar(files)}) / "images.tar"

    return create


def test_a_class_folder_is_read_by_wordnet_id_and_file_and_by_bare_name(make_source) -> None:
    locations = find_images(make_source({"n01440764/a.JPEG": b"one", "n01443537/b.JPEG": b"two"}))

    assert {name: location.read(9) for name, location in locations.items()} == {
        "n01440764/a.JPEG": b"one",
        "a.JPEG": b"one",
        "n01443537/b.JPEG": b"two",
        "b.JPEG": b"two",
    }


def test_a_flat_folder_is_read_by_file(make_source) -> None:
    locations = find_images(
        make_source({"ILSVRC2012_val_00000001.JPEG": b"one", "ILSVRC2012_val_00000002.JPEG": b"two"})
    )

    assert locations["ILSVRC2012_val_00000002.JPEG"].read(9) == b"two"
    assert len(locations) == 2


def test_a_deeper_image_has_its_path_its_last_two_parts_and_its_name(make_source) -> None:
    locations = find_images(make_source({"data/val/n01440764/a.jpg": b"one"}))

    assert set(locations) == {"data/val/n01440764/a.jpg", "n01440764/a.jpg", "a.jpg"}


def test_a_bare_name_that_two_folders_have_is_not_guessed(make_source) -> None:
    locations = find_images(
        make_source({"n01440764/a.jpg": b"one", "n01443537/a.jpg": b"two", "n01443537/b.jpg": b"three"})
    )

    assert set(locations) == {"n01440764/a.jpg", "n01443537/a.jpg", "n01443537/b.jpg", "b.jpg"}


def test_a_whole_path_takes_precedence_over_a_suffix(make_source) -> None:
    locations = find_images(make_source({"a.jpg": b"top", "deep/a.jpg": b"deep"}))

    assert locations["a.jpg"].read(9) == b"top"
    assert locations["deep/a.jpg"].read(9) == b"deep"


def test_an_unknown_class_folder_is_ignored(make_source) -> None:
    locations = find_images(
        make_source({"n01440764/a.jpg": b"one", "n99999999/other.jpg": b"two", "notes/README.md": b"three"})
    )

    assert locations["a.jpg"].read(9) == b"one"
    assert "README.md" not in locations


@pytest.mark.parametrize("files", [{}, {"README.md": b"no image"}])
def test_a_folder_or_tar_without_images_is_named(make_source, tmp_path: Path, files: Mapping[str, bytes]) -> None:
    path = make_source(files)
    if not path.exists():
        path.mkdir()

    with pytest.raises(ImagesMissing, match="No images in ") as caught:
        find_images(path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("name", ["nowhere", "nowhere.tar", "file.zip"])
def test_a_path_that_is_neither_folder_nor_tar_is_rejected(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.zip").write_bytes(b"PK")

    with pytest.raises(ImagesMissing, match=rf"{name}\. Set ERRATA_IMAGES"):
        find_images(tmp_path / name)


def test_links_are_followed_inside_the_folder_alone(tmp_path: Path) -> None:
    put(tmp_path, {"outside/secret.jpg": b"secret", "images/a.jpg": b"one"})
    images = tmp_path / "images"
    (images / "again.jpg").symlink_to(images / "a.jpg")
    (images / "file.jpg").symlink_to(tmp_path / "outside" / "secret.jpg")
    (images / "folder").symlink_to(tmp_path / "outside")
    (images / "round").symlink_to(images)

    assert set(find_images(images)) == {"a.jpg", "again.jpg"}


def test_links_in_a_tar_file_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret.jpg")
        archive.addfile(link)
        real = tarfile.TarInfo("./n01440764/a.jpg")
        real.size = 3
        archive.addfile(real, io.BytesIO(b"one"))

    assert set(find_images(tmp_path / "images.tar")) == {"n01440764/a.jpg", "a.jpg"}


def test_a_tar_of_tars_is_a_folder_a_tar(tmp_path: Path) -> None:
    inner = {"n01440764.tar": tar({"a.jpg": b"one", "b.jpg": b"two"}), "n01443537.tar": tar({"c.jpg": b"three"})}
    (tmp_path / "images.tar").write_bytes(tar(inner))

    locations = find_images(tmp_path / "images.tar")

    assert locations["n01440764/b.jpg"].read(9) == b"two"
    assert locations["n01443537/c.jpg"].read(9) == b"three"


def test_a_tar_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "images.tar").write_bytes(tar({"a.jpg": b"one"}))
    find_images(tmp_path / "images.tar")

    assert [path.name for path in tmp_path.iterdir()] == ["images.tar"]


@pytest.mark.parametrize("content", [b"", b"no tar", tar({"a.jpg": b"x" * 2000})[:1500]])
def test_a_broken_tar_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "images.tar").write_bytes(content)

    with pytest.raises(ImagesMissing, match=r"images\.tar"):
        find_images(tmp_path / "images.tar")

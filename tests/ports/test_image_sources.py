"""The images of a data set in a folder, in a tar file, and in an S3 bucket: the same names, bytes, and limits."""

import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import s3fs
from errata.errors import ImagesMissing

from service.predictions.image_sources import find_images

FILES = {
    "n01440764/a.JPEG": b"one",
    "n01443537/a.JPEG": b"two",
    "größe & 100% #1?.png": b"three",
    "deep/er/still/b.webp": b"four",
    "notes.txt": b"five",
}
NAMES = {
    "n01440764/a.JPEG",
    "n01443537/a.JPEG",
    "größe & 100% #1?.png",
    "deep/er/still/b.webp",
    "still/b.webp",
    "b.webp",
}


@pytest.fixture(params=["folder", "tar", "s3"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        url = f"{request.getfixturevalue('bucket')}/{tmp_path.name}"
        store = s3fs.S3FileSystem(skip_instance_cache=True)
        for name, content in FILES.items():
            store.pipe_file(f"{url}/{name}", content)
        return url
    write(tmp_path / "images", FILES)
    if request.param == "folder":
        return str(tmp_path / "images")
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        archive.add(tmp_path / "images", ".")
    return str(tmp_path / "images.tar")


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def test_images_have_the_same_names_and_bytes(location: str) -> None:
    locations = find_images(location)

    assert {*locations} == NAMES
    assert {name: locations[name].read(5) for name in FILES if name in NAMES} == {
        name: content for name, content in FILES.items() if name in NAMES
    }


def test_an_image_above_the_limit_is_an_error(location: str) -> None:
    with pytest.raises(OSError, match=r"at most 2|more than 2"):
        find_images(location)["n01440764/a.JPEG"].read(2)


def test_versions_differ_between_images_and_stay_the_same(location: str) -> None:
    versions = {name: place.version() for name, place in find_images(location).items()}

    assert versions == {name: place.version() for name, place in find_images(location).items()}
    assert len({*versions.values()}) == 4


@pytest.mark.slow
def test_an_absent_bucket_is_named(bucket: str) -> None:
    with pytest.raises(ImagesMissing, match="s3://absent/x"):
        find_images("s3://absent/x")


@pytest.mark.slow
def test_a_changed_object_has_another_version(bucket: str, tmp_path: Path) -> None:
    store, url = s3fs.S3FileSystem(skip_instance_cache=True), f"{bucket}/{tmp_path.name}-changed"
    versions = set()
    for content in (b"one", b"two"):  # of the same size, within a second
        store.pipe_file(f"{url}/a.png", content)
        versions.add(find_images(url)["a.png"].version())

    assert len(versions) == 2

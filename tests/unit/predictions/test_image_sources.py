"""Images in folders and tar files are found by every name that identifies one image."""

import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from unicodedata import normalize

import fsspec
import pytest
from errata.errors import ImagesMissing, InvalidSetting

from service.predictions.image_sources import ImageListing, find_images


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


@pytest.mark.parametrize("link", ["n1/a.jpg", "n1"])
def test_links_made_after_the_listing_are_followed_inside_the_folder_alone(tmp_path: Path, link: str) -> None:
    put(tmp_path, {"images/n1/a.jpg": b"one", "images/n2/a.jpg": b"two", "outside/a.jpg": b"secret"})
    images, name = tmp_path / "images", link.removeprefix("n1")
    (tmp_path / "current").symlink_to(images)  # a link to the folder itself is no problem
    location = find_images(tmp_path / "current")["n1/a.jpg"]
    assert location.read(9) == b"one"

    (images / link).rename(tmp_path / "old")
    (images / link).symlink_to(f"{images}/n2{name}")
    assert location.read(9) == b"two"

    (images / link).unlink()
    (images / link).symlink_to(f"{tmp_path}/outside{name}")
    with pytest.raises(OSError, match="A link leads out of the folder of images"):
        location.read(9)


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


def test_names_in_a_tar_file_are_names_and_no_paths(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    names = ["../secret.jpg", "/etc/secret.jpg", "a/../../secret.jpg"]
    (tmp_path / "images.tar").write_bytes(tar(dict.fromkeys(names, b"inside")))

    locations = find_images(tmp_path / "images.tar")

    assert {*names} <= {*locations}
    assert {location.read(9) for location in locations.values()} == {b"inside"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
def test_only_regular_members_of_a_tar_file_are_images(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        member = tarfile.TarInfo("odd.jpg")
        member.type, member.linkname = kind, "a.jpg"
        archive.addfile(member)
        archive.addfile(tarfile.TarInfo("a.jpg"))

    assert [*find_images(tmp_path / "images.tar")] == ["a.jpg"]


def test_a_member_of_negative_size_does_not_repeat_the_others_forever(tmp_path: Path) -> None:
    content = bytearray(tar({"a.jpg": b"x" * 512, "b.jpg": b"y" * 512}))
    content[1024 + 124 : 1024 + 136] = b"\xff" * 4 + (-2048 & (1 << 64) - 1).to_bytes(8, "big")
    content[1024 + 148 : 1024 + 156] = b" " * 8
    content[1024 + 148 : 1024 + 156] = b"%06o\0 " % sum(content[1024:1536])
    (tmp_path / "images.tar").write_bytes(content)

    with pytest.raises(ImagesMissing, match="damaged"):
        find_images(tmp_path / "images.tar")


def test_a_damaged_header_does_not_hide_the_members_after_it(tmp_path: Path) -> None:
    content = bytearray(tar({"a.jpg": b"x" * 512, "b.jpg": b"y" * 512, "c.jpg": b"z" * 512}))
    content[1024] ^= 1
    (tmp_path / "images.tar").write_bytes(content)

    with pytest.raises(ImagesMissing, match=r"damaged \(invalid header at byte 1024\)"):
        find_images(tmp_path / "images.tar")


@pytest.mark.parametrize("end", [0, 512, 1000, 1024])
def test_a_tar_without_its_last_blocks_is_read(tmp_path: Path, end: int) -> None:
    (tmp_path / "images.tar").write_bytes(tar({"a.jpg": b"x" * 512, "b.jpg": b"y" * 512})[: 2048 + end])

    assert [*find_images(tmp_path / "images.tar")] == ["a.jpg", "b.jpg"]


def test_a_compressed_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images.tar").write_bytes(gzip.compress(tar({"a.jpg": b"one"})))

    with pytest.raises(ImagesMissing, match="damaged"):
        find_images(tmp_path / "images.tar")


def test_a_tar_file_that_changed_after_it_was_listed_is_not_read(tmp_path: Path) -> None:
    content = tar({"a.jpg": b"x" * 600})
    (tmp_path / "images.tar").write_bytes(content)
    location = find_images(tmp_path / "images.tar")["a.jpg"]
    with pytest.raises(OSError, match="at most 599"):
        location.read(599)
    assert location.read(600) == b"x" * 600

    (tmp_path / "images.tar").write_bytes(content[:800])

    assert location.is_outdated()
    for access in (location.version, lambda: location.read(600)):
        with pytest.raises(OSError, match=r"images\.tar was replaced"):
            access()


def test_images_of_an_object_store_have_the_names_below_its_url() -> None:
    store = fsspec.filesystem("memory")
    store.pipe_file("/bucket/val/n01440764/a.jpg", b"one")
    store.pipe_file("/bucket/val/b.JPEG", b"two")
    store.pipe_file("/bucket/val/notes.txt", b"three")
    store.pipe_file("/bucket/value/c.jpg", b"four")

    locations = find_images("memory://bucket/val/")

    assert {name: location.read(9) for name, location in locations.items()} == {
        "n01440764/a.jpg": b"one",
        "a.jpg": b"one",
        "b.JPEG": b"two",
    }
    with pytest.raises(OSError, match="more than 2 bytes"):
        locations["a.jpg"].read(2)
    store.rm_file("/bucket/val/b.JPEG")
    with pytest.raises(OSError, match="FileNotFoundError"):
        locations["b.JPEG"].read(9)


@pytest.mark.parametrize(("url", "error"), [("memory://empty", ImagesMissing), ("nosuch://x", InvalidSetting)])
def test_a_url_without_images_or_with_an_unknown_scheme_is_named(url: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=url):
        find_images(url)


def test_a_link_to_itself_hides_no_other_image(tmp_path: Path) -> None:
    put(tmp_path, {"a.jpg": b"one"})
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    locations = find_images(tmp_path)

    assert locations["a.jpg"].read(9) == b"one"
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        locations["loop.jpg"].version()


@pytest.mark.parametrize("record", [b"21 GNU.sparse.size=x\n", b"99999999999999999999 a=b\n"])
def test_a_damaged_extended_header_of_a_tar_is_named(tmp_path: Path, record: bytes) -> None:
    header = tarfile.TarInfo("extended")
    header.type, header.size = tarfile.XHDTYPE, len(record)
    content = header.tobuf() + record.ljust(512, b"\0") + tar({"a.jpg": b"one"})
    (tmp_path / "images.tar").write_bytes(content)

    with pytest.raises(ImagesMissing, match="damaged"):
        find_images(tmp_path / "images.tar")


def test_a_member_of_enormous_size_is_damage(tmp_path: Path) -> None:
    header = bytearray(tar({"a.jpg": b"one"}))
    header[124:136] = b"\x80" + (1 << 80).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    (tmp_path / "images.tar").write_bytes(header)

    with pytest.raises(ImagesMissing, match="damaged"):
        find_images(tmp_path / "images.tar")


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_names_are_found_in_another_unicode_form(make_source, stored: str, asked: str) -> None:
    source = ImageListing(make_source({normalize(stored, "dir é/bild é.jpg"): b"one", "dir/a.jpg": b"two"}))

    for name in ("dir é/bild é.jpg", "bild é.jpg"):
        location = source.find(normalize(asked, name))
        assert location is not None and location.read(9) == b"one"


def test_a_name_in_its_own_unicode_form_takes_precedence(make_source) -> None:
    names = [normalize(form, "é.jpg") for form in ("NFC", "NFD")]
    source = ImageListing(make_source({name: name.encode() for name in names}))

    assert [source.find(name).read(9) for name in names] == [name.encode() for name in names]


def test_a_name_that_two_images_have_in_another_unicode_form_is_not_guessed(make_source) -> None:
    paths = [normalize("NFD", f"{folder}/é.jpg") for folder in ("a", "b")]
    source = ImageListing(make_source(dict.fromkeys((*paths, "c/d.jpg"), b"")))

    assert source.find("é.jpg") is None
    assert source.find("b/é.jpg") is not None

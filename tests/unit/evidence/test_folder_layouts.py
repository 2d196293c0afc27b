"""The folder of an image is its class, in each layout; what does not fit is refused with the folder and the remedy."""

import os
from pathlib import Path

import pytest
from errata.errors import InvalidEvidence
from unit.evidence.files import create
from unit.evidence.official import wordnet_id

from service.evidence.built_in import cifar_100
from service.evidence.folder_layouts import (
    CLASS_NUMBERS,
    CORRUPTIONS,
    NAMED_CLASSES,
    WORDNET_IDS,
    FolderLayout,
    read_folders,
)
from service.taxonomy.imagenet_1k import imagenet_1k


def read(folder: Path, layout: FolderLayout) -> dict[str, int]:
    samples = read_folders(folder, layout, cifar_100() if layout is NAMED_CLASSES else imagenet_1k())
    assert list(samples.names) == sorted(samples.names)
    return dict(zip(samples.names, samples.targets.tolist(), strict=True))


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (WORDNET_IDS, {"n01440764/a.JPEG": 0, "n01443537/a.JPEG": 1, "n15075141/b.png": 999}),
        (CLASS_NUMBERS, {"0/a.jpeg": 0, "10/a.jpeg": 10, "2/a.jpeg": 2, "999/b.jpeg": 999}),
        (CORRUPTIONS, {"fog/1/n01440764/a.JPEG": 0, "fog/5/n01440764/a.JPEG": 0, "snow/3/n01443537/a.JPEG": 1}),
        (CORRUPTIONS, {"1/n01440764/a.JPEG": 0, "5/n01443537/a.JPEG": 1}),
        (CORRUPTIONS, {"n01440764/a.JPEG": 0}),
        (NAMED_CLASSES, {"apple/1.png": 0, "aquarium_fish/1.png": 1, "maple tree/1.png": 47}),
        (NAMED_CLASSES, {"fish/aquarium_fish/1.png": 1, "vehicles_1/bus/1.png": 13}),
        (NAMED_CLASSES, {"0/1.png": 0, "10/1.png": 10, "2/1.png": 2}),
    ],
)
def test_class_of_an_image_is_that_of_its_folder(
    tmp_path: Path, layout: FolderLayout, expected: dict[str, int]
) -> None:
    assert read(create(tmp_path, *expected), layout) == expected


def test_a_thousand_numbered_folders_are_the_classes_of_their_numbers(tmp_path: Path) -> None:
    create(tmp_path, *(f"{number}/{number:04}.jpeg" for number in range(1000)))

    assert read(tmp_path, CLASS_NUMBERS) == {f"{number}/{number:04}.jpeg": number for number in range(1000)}


def test_other_files_and_hidden_entries_are_ignored(tmp_path: Path) -> None:
    create(tmp_path, "README.txt", ".DS_Store", ".cache/a.jpg", "0/a.jpg", "0/.b.jpg", "0/list.csv")

    assert read(tmp_path, CLASS_NUMBERS) == {"0/a.jpg": 0}


@pytest.mark.parametrize(
    ("layout", "paths", "message"),
    [
        (WORDNET_IDS, ["n01440764/a.jpg", "n02084071/a.jpg"], "'n02084071' belongs to no class; rename or delete it"),
        (WORDNET_IDS, ["tench/a.jpg"], "'tench' belongs to no class"),
        (WORDNET_IDS, ["imagenet-r/n01440764/a.jpg"], "imagenet-r' with --images instead"),
        (WORDNET_IDS, ["n01440764/a.jpg", "b.jpg"], "'b.jpg' is an image outside of the class folders"),
        (WORDNET_IDS, ["n01440764/a.jpg", "n01443537/notes.txt"], "'n01443537' has no images; delete it"),
        (WORDNET_IDS, ["n01440764/a.jpg", "n01440764/more/b.jpg"], "'n01440764/more' is a folder in a class folder"),
        (WORDNET_IDS, ["n01440764/a\n.jpg"], "'n01440764' has a file name with unusable characters"),
        (WORDNET_IDS, ["notes.txt"], "has no class folders"),
        (CLASS_NUMBERS, ["0/a.jpg", "1000/a.jpg"], "'1000' belongs to no class"),
        (CLASS_NUMBERS, ["1/a.jpg", "01/a.jpg"], "'01' belongs to no class"),
        (CLASS_NUMBERS, ["\u0661/a.jpg"], "belongs to no class"),
        (CLASS_NUMBERS, ["-1/a.jpg"], "'-1' belongs to no class"),
        (CLASS_NUMBERS, ["n01440764/a.jpg"], "'n01440764' belongs to no class"),
        (CORRUPTIONS, ["fog/6/n01440764/a.jpg"], "'fog/6/n01440764' is not in a folder of a severity from 1 to 5"),
        (CORRUPTIONS, ["noise/fog/1/n01440764/a.jpg"], "'noise/fog/1' belongs to no class"),
        (CORRUPTIONS, ["fog/1/n01440764/a.jpg", "2/n01440764/a.jpg"], "is not as deep as the other class folders"),
        (CORRUPTIONS, ["fog/1/n01440764/a.jpg", "fog/2/notes.txt"], "'fog/2' has no class folders"),
        (CORRUPTIONS, ["fog/1/a.jpg"], "'fog/1' has images, but belongs to no class"),
        (NAMED_CLASSES, ["apple/1.png", "0/1.png"], "means the same class as '0'"),
        (NAMED_CLASSES, ["trees/apple/1.png"], "but its superclass is 'fruit and vegetables'"),
        (NAMED_CLASSES, ["aeroplane/1.png"], "'aeroplane' has images, but belongs to no class"),
    ],
)
def test_folder_that_does_not_fit_is_refused(
    tmp_path: Path, layout: FolderLayout, paths: list[str], message: str
) -> None:
    create(tmp_path, *paths)

    with pytest.raises(InvalidEvidence) as error:
        read(tmp_path, layout)

    assert message in error.value.message
    assert [violation.field for violation in error.value.violations] == ["images"]


def test_file_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    create(tmp_path, "0/a.jpg", "0/\udcff.jpg")

    with pytest.raises(InvalidEvidence, match="unusable characters"):
        read(tmp_path, CLASS_NUMBERS)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidEvidence, match=r"missing' not found. Check the path of --images"):
        read(tmp_path / "missing", WORDNET_IDS)


def test_unreadable_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scandir(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    create(tmp_path, "0/a.jpg")
    monkeypatch.setattr("service.evidence.folder_layouts.os.scandir", scandir)

    with pytest.raises(InvalidEvidence, match=r"Cannot read .*0: Permission denied. Check its permissions"):
        read(tmp_path, CLASS_NUMBERS)


def test_folders_that_contain_themselves_end(tmp_path: Path) -> None:
    create(tmp_path, f"fog/1/{wordnet_id(0)}/a.jpg")
    (tmp_path / "fog" / "2").symlink_to(tmp_path)

    with pytest.raises(InvalidEvidence, match="'fog/2/fog' belongs to no class"):
        read(tmp_path, CORRUPTIONS)


@pytest.mark.parametrize("parent", [b"fog\xff", b"fog\nx", "fog\u202e".encode(), b"\x1b[31mfog"])
def test_unusable_characters_in_a_folder_above_class_folders_are_refused(tmp_path: Path, parent: bytes) -> None:
    folder = os.path.join(os.fsencode(tmp_path), parent, b"3", b"n01440764")
    os.makedirs(folder)
    with open(os.path.join(folder, b"a.jpg"), "wb"):
        pass

    with pytest.raises(InvalidEvidence, match="unusable characters") as caught:
        read_folders(tmp_path, CORRUPTIONS, imagenet_1k())
    caught.value.message.encode()

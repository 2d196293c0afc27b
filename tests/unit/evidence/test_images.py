"""Image files are found by path or unique file name, within the folder only."""

from pathlib import Path

import pytest
from errata.errors import InvalidEvidence
from unit.evidence.official import wordnet_id

from service.domain import LabelSpace
from service.evidence import images
from service.evidence.class_files import read_classes
from service.evidence.images import class_folders
from service.image_formats import EXTENSIONS
from service.taxonomy.imagenet_1k import imagenet_1k

A, B = wordnet_id(0), wordnet_id(1)


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def find_images(folder: Path, names: list[str], class_paths: list[str] | None = None) -> list[str]:
    return images.find_images(folder, names, class_paths or names, imagenet_1k())


def test_image_is_found_by_path_or_file_name(tmp_path: Path) -> None:
    touch(tmp_path / A / "x.jpg", tmp_path / B / "x.jpg", tmp_path / "flat.jpg", tmp_path / "deep" / "er" / "y.jpg")

    paths = find_images(tmp_path, [f"{B}/x.jpg", f"{A}/x.jpg", f"{A}/flat.jpg", "y.jpg"])

    root = tmp_path.resolve()
    assert list(map(Path, paths)) == [
        root / B / "x.jpg",
        root / A / "x.jpg",
        root / "flat.jpg",
        root / "deep" / "er" / "y.jpg",
    ]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}/x.jpg", "cafe\N{COMBINING ACUTE ACCENT}/x.jpg"),
        ("cafe\N{COMBINING ACUTE ACCENT}/x.jpg", "val/caf\N{LATIN SMALL LETTER E WITH ACUTE}/x.jpg"),
        ("cat\\x.jpg", "val/cat/x.jpg"),
        ("./cat//x.jpg", "cat/x.jpg"),
        ("data/cat/x", "cat/x.png"),
    ],
)
def test_names_match_by_the_rule_of_uploads(tmp_path: Path, name: str, file: str) -> None:
    touch(tmp_path / file, tmp_path / "dog" / "x.jpg")

    assert find_images(tmp_path, [name]) == [str(tmp_path.resolve() / file)]


def test_missing_images_are_rejected_with_their_number(tmp_path: Path) -> None:
    touch(tmp_path / "x.jpg")

    with pytest.raises(InvalidEvidence, match=r"2 of 3 images.*'y\.jpg'"):
        find_images(tmp_path, ["x.jpg", "y.jpg", f"{A}/z.jpg"])


@pytest.mark.parametrize("name", ["../x.jpg", "/etc/hostname", "", ".", A])
def test_name_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    touch(tmp_path / "x.jpg", tmp_path / "root" / A / "y.jpg")

    with pytest.raises(InvalidEvidence):
        find_images(tmp_path / "root", [name])


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_link_to_the_outside_is_ignored(tmp_path: Path, kind: str) -> None:
    touch(tmp_path / "outside" / "x.jpg", tmp_path / "root" / "y.jpg")
    link, aim = ("linked", "outside") if kind == "folder" else ("x.jpg", "outside/x.jpg")
    (tmp_path / "root" / link).symlink_to(tmp_path / aim)

    with pytest.raises(InvalidEvidence):
        find_images(tmp_path / "root", ["x.jpg"])


def test_ambiguous_file_name_is_rejected(tmp_path: Path) -> None:
    touch(tmp_path / A / "x.jpg", tmp_path / B / "x.jpg")

    with pytest.raises(InvalidEvidence, match=r"the names of 1 of 1 images are ambiguous, such as 'x\.jpg'"):
        find_images(tmp_path, ["x.jpg"])


def test_file_with_the_same_file_name_in_another_folder_is_another_image(tmp_path: Path) -> None:
    touch(tmp_path / "cat" / "1.png", tmp_path / "bath" / "001.jpg", tmp_path / "dog" / "2.png")

    with pytest.raises(InvalidEvidence, match=r"2 of 3 images are missing, such as 'dog/1\.png'") as error:
        find_images(tmp_path, ["dog/1.png", "dog/2.png", "kitchen/001.jpg"])

    assert error.value.violations[0].field == "images"


def test_folders_may_precede_the_path_or_the_name(tmp_path: Path) -> None:
    touch(tmp_path / "val" / A / "x.jpg", tmp_path / "val" / B / "x.jpg", tmp_path / "a" / "b" / "c" / "y.jpg")
    touch(tmp_path / "d" / "c" / "y.jpg")

    names = [f"{A}/x.jpg", f"data/val/{B}/x.jpg", "b/c/y.jpg"]

    assert [Path(path).relative_to(tmp_path.resolve()).as_posix() for path in find_images(tmp_path, names)] == [
        f"val/{A}/x.jpg",
        f"val/{B}/x.jpg",
        "a/b/c/y.jpg",
    ]


@pytest.mark.parametrize(
    ("file", "names", "ambiguous"),
    [
        ("1.png", ["cat/1.png", "dog/1.png"], ["cat/1.png", "dog/1.png"]),
        ("1.png", ["1.png", "dog/1.png"], ["dog/1.png"]),
        ("1.png", ["1.jpg", "1.png"], ["1.jpg"]),
        ("cat/1.png", ["1.png", "cat/1.png"], ["1.png"]),
    ],
)
def test_file_that_matches_two_names_has_only_the_name_of_its_path(
    tmp_path: Path, file: str, names: list[str], ambiguous: list[str]
) -> None:
    touch(tmp_path / file)

    with pytest.raises(InvalidEvidence, match=f"{len(ambiguous)} of 2 images are ambiguous, such as '{ambiguous[0]}'"):
        find_images(tmp_path, names)


def test_all_images_are_missing_from_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidEvidence, match=r"1 of 1 images are missing, such as 'x\.jpg'"):
        find_images(tmp_path, ["x.jpg"])


def test_path_in_the_folder_of_the_class_precedes_the_name(tmp_path: Path) -> None:
    touch(tmp_path / A / "x.jpg", tmp_path / B / "x.jpg", tmp_path / "kitchen" / "y.jpg")

    paths = find_images(tmp_path, ["x.jpg", "y.jpg"], [f"{B}/x.jpg", f"{A}/y.jpg"])

    assert list(map(Path, paths)) == [tmp_path.resolve() / B / "x.jpg", tmp_path.resolve() / "kitchen" / "y.jpg"]


def test_a_file_with_exactly_the_name_precedes_one_in_the_folder_of_the_class(tmp_path: Path) -> None:
    """The images of the data set and of the training set can be below one folder."""
    touch(tmp_path / "x.jpg", tmp_path / "train" / A / "x.jpg")

    assert find_images(tmp_path, ["x.jpg"], [f"{A}/x.jpg"]) == [str(tmp_path.resolve() / "x.jpg")]


@pytest.mark.parametrize("folder", [A, "tench", f"{A}/more"])
def test_a_file_with_the_name_precedes_one_of_the_class_with_another_extension(tmp_path: Path, folder: str) -> None:
    """But not if it is in the folder of another class: then, the images were converted."""
    files = "eval/1.png", f"train/{A}/1.jpg", f"val/{B}/2.jpg", f"train/{folder}/2.png"
    touch(*(tmp_path / file for file in files))

    paths = find_images(tmp_path, ["1.png", "2.png"], [f"{A}/1.png", f"{B}/2.png"])

    assert paths == [str(tmp_path.resolve() / path) for path in ("eval/1.png", f"val/{B}/2.jpg")]


@pytest.mark.parametrize("number", ["0", "1"])
def test_a_name_in_a_folder_with_the_index_of_a_class_is_ambiguous(tmp_path: Path, number: str) -> None:
    """The folder can be a part of the data set, or have the training images of the class."""
    touch(tmp_path / "train" / number / "x.png", tmp_path / "val" / A / "x.jpg")

    with pytest.raises(InvalidEvidence, match=r"the names of 1 of 1 images are ambiguous, such as 'x\.png'"):
        find_images(tmp_path, ["x.png"], [f"{A}/x.png"])


def test_a_folder_with_another_number_is_a_part_of_the_data_set(tmp_path: Path) -> None:
    touch(tmp_path / "2024" / "x.jpg", tmp_path / "preview" / A / "x.webp")

    assert find_images(tmp_path, ["x.jpg"], [f"{A}/x.jpg"]) == [str(tmp_path.resolve() / "2024" / "x.jpg")]


def test_a_class_folder_can_have_the_index_of_a_class_as_its_id(tmp_path: Path) -> None:
    touch(tmp_path / "1" / "x.jpg")

    assert find_images(tmp_path, ["x.png"], ["1/x.png"]) == [str(tmp_path.resolve() / "1" / "x.jpg")]


def test_a_file_with_the_class_path_in_another_unicode_form_precedes_one_with_the_name(tmp_path: Path) -> None:
    touch(tmp_path / A / "e\N{COMBINING ACUTE ACCENT}.png", tmp_path / "x" / "\N{LATIN SMALL LETTER E WITH ACUTE}.png")
    name = "\N{LATIN SMALL LETTER E WITH ACUTE}.png"

    assert find_images(tmp_path, [name], [f"{A}/{name}"]) == [
        str(tmp_path.resolve() / A / "e\N{COMBINING ACUTE ACCENT}.png")
    ]


def test_missing_folder_is_rejected(tmp_path: Path) -> None:
    touch(tmp_path / "file")
    for path in (tmp_path / "not there", tmp_path / "file"):
        with pytest.raises(InvalidEvidence, match=path.name):
            find_images(path, [])


def test_class_folders_are_sorted_and_only_images_count(tmp_path: Path) -> None:
    files = [f"{B}/a.JPEG", f"{A}/b.png", f"{A}/a.jpg", f"{B}/c.webp", f"{B}/b.bmp", f"{A}/c.jpeg"]
    touch(*(tmp_path / name for name in files), tmp_path / A / "notes.txt", tmp_path / "README")

    result = class_folders(tmp_path, imagenet_1k())

    assert result.names == tuple(sorted(files))
    assert result.targets.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_training_images_of_all_readable_formats_count(tmp_path: Path, extension: str) -> None:
    touch(tmp_path / A / f"a{extension}", tmp_path / A / f"b{extension.upper()}")

    assert class_folders(tmp_path, imagenet_1k()).names == (f"{A}/a{extension}", f"{A}/b{extension.upper()}")


def test_names_that_start_with_a_dot_are_no_training_images(tmp_path: Path) -> None:
    touch(tmp_path / A / "a.jpg", tmp_path / A / "._a.jpg", tmp_path / A / ".ipynb_checkpoints" / "a.jpg")
    touch(tmp_path / ".ipynb_checkpoints" / "a.jpg")

    assert class_folders(tmp_path, imagenet_1k()).names == (f"{A}/a.jpg",)


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ("deeper/a.jpg", f"'{B}/deeper' is a folder in a class folder; move its images up"),
        ("notes.txt", f"'{B}' has no images; delete it, or extract its images again"),
    ],
)
def test_class_without_training_images_is_rejected(tmp_path: Path, file: str, problem: str) -> None:
    touch(tmp_path / A / "a.jpg", tmp_path / B / file)

    with pytest.raises(InvalidEvidence, match=f"{problem}. Expected images as class/file") as error:
        class_folders(tmp_path, imagenet_1k())

    assert error.value.violations[0].field == "train_images"


def test_folder_of_an_unknown_class_is_rejected_by_name(tmp_path: Path) -> None:
    touch(tmp_path / A / "a.jpg", tmp_path / "n00000000" / "a.jpg")

    with pytest.raises(InvalidEvidence, match="n00000000"):
        class_folders(tmp_path, imagenet_1k())


def test_folder_without_class_folders_is_rejected(tmp_path: Path) -> None:
    touch(tmp_path / "empty" / A / "notes.txt", tmp_path / "flat" / "a.jpg")
    for name in ("empty", "flat", "not there"):
        with pytest.raises(InvalidEvidence, match=name):
            class_folders(tmp_path / name, imagenet_1k())


@pytest.fixture
def own(tmp_path: Path) -> LabelSpace:
    file = tmp_path / "classes.csv"
    file.write_text("id,name,synonyms\nsku-1,water bottle,flask\n7,cup,\nsku-3,crane,\nsku-4,crane,\n1,bowl,\n")
    return read_classes(file, "mine")


def test_class_folders_are_named_by_id_name_or_index(tmp_path: Path, own: LabelSpace) -> None:
    folders = {"sku-3": 2, "0": 0, "water_bottle": 0, "cup": 1, "4": 4, "7": 1}
    root = tmp_path / "train"
    touch(*(root / name / "a.jpg" for name in folders))

    result = class_folders(root, own)

    assert dict(zip(result.names, result.targets.tolist(), strict=True)) == {
        f"{name}/a.jpg": target for name, target in folders.items()
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("crane", "ambiguous class 'crane': index 2 .ID 'sku-3'., index 3"),
        ("1", "ambiguous class '1': index 1 .ID '7'., index 4 .ID '1'."),
        ("crain", "unknown class 'crain'.*similar names: 'crane'"),
    ],
)
def test_class_folder_without_a_class_is_refused(tmp_path: Path, own: LabelSpace, name: str, words: str) -> None:
    touch(tmp_path / "train" / name / "a.jpg")

    with pytest.raises(InvalidEvidence, match=words):
        class_folders(tmp_path / "train", own)

"""All files of a data set are read, and the errors of all of them are collected with their lines."""

from pathlib import Path

import pytest

from service.evidence.build_inputs import Inputs
from service.evidence.dataset_check import find_advice
from service.evidence.dataset_files import DatasetFiles, read_files

CLASSES = "name,superclass,group\ncat,pets,animal\ndog,pets,animal\ncar,,thing\n"


def read(folder: Path, name: str = "things", **texts: str) -> DatasetFiles:
    """Read files with the given texts."""
    paths = {}
    for field, text in texts.items():
        suffix = "json" if text.startswith("{") else "csv"
        paths[field] = folder / f"{field}.{suffix}"
        paths[field].write_text(text, encoding="utf-8")
    return read_files(name, Inputs(**paths))


def places(files: DatasetFiles) -> list[tuple[str, str, int | None]]:
    return [(error.file, error.field, error.line) for error in files.errors]


def test_valid_files_have_no_errors(tmp_path: Path) -> None:
    files = read(
        tmp_path,
        classes=CLASSES,
        labels="file_name,labels\na.jpg,cat;car\nb.jpg,dog\n",
        overlaps="class,also_correct\ncat,dog\n",
        superclasses="class,superclasses\ncar,vehicles\n",
        groups="class,groups\ncar,machine\n",
        cooccurrence="file_name,labels\nx.jpg,cat;car\ny.jpg,cat;car\n",
    )

    assert files.errors == files.unchecked == []
    assert files.dataset is not None and files.dataset.images is not None and files.dataset.pairs is not None
    assert files.dataset.label_space.superclasses.ids == ("pets", "vehicles")
    assert files.dataset.label_space.groups == ("animal", "machine")
    assert files.dataset.label_space.overlaps.as_array().tolist() == [[0, 1]]
    assert files.dataset.pairs.counts.tolist() == [2]


def test_errors_of_all_files_are_collected(tmp_path: Path) -> None:
    files = read(
        tmp_path,
        classes=CLASSES,
        labels="file_name,labels\na.jpg,cat\na.jpg,dog\nb.jpg,cow\n",
        overlaps="class,also_correct\ncat,dog\ncat,cow\ncat,cat\n",
        superclasses="class,superclasses\ncow,pets\n",
        groups="class,groups\ncat,all\n",
    )

    assert places(files) == [
        ("overlaps.csv", "also_correct", 3),
        ("overlaps.csv", "also_correct", 4),
        ("superclasses.csv", "class", 2),
        ("groups.csv", "groups", 2),
        ("labels.csv", "file_name", 3),
        ("labels.csv", "labels", 4),
    ]
    assert {error.unit for error in files.errors} == {"line"}
    assert files.dataset is not None
    assert files.dataset.images is None


def test_files_that_need_the_classes_are_not_checked_without_them(tmp_path: Path) -> None:
    files = read(tmp_path, classes="name\ncat\ncat\n\tdog\x00\n", labels="file_name,labels\na.jpg,cow\n")

    assert files.dataset is None
    assert {(error.file, error.line) for error in files.errors} == {("classes.csv", 3), ("classes.csv", 4)}
    assert files.unchecked == ["labels.csv"]


def test_every_line_of_a_file_with_many_errors_is_listed(tmp_path: Path) -> None:
    rows = "".join(f"{number}.jpg,unknown {number}\n" for number in range(500))

    files = read(tmp_path, classes=CLASSES, labels=f"file_name,labels\n{rows}")

    assert [error.line for error in files.errors] == list(range(2, 502))


def test_place_of_an_error_is_not_repeated_in_its_message(tmp_path: Path) -> None:
    files = read(tmp_path, classes="title\ncat\ndog\n")

    assert places(files) == [("classes.csv", "name", 1)]
    assert files.errors[0].message.startswith("missing column 'name'.")


def test_entries_of_json_files_are_numbered(tmp_path: Path) -> None:
    files = read(tmp_path, classes='{"classes": [{"name": "cat"}, {"name": "dog"}, {"name": ""}]}')

    assert {(error.unit, error.line) for error in files.errors} == {("class", 3)}


@pytest.mark.parametrize("name", ["classes", "labels"])
def test_missing_file_is_an_error(tmp_path: Path, name: str) -> None:
    files = read_files("things", Inputs(**{name: tmp_path / "missing.csv"}))

    assert [error.file for error in files.errors] == ["missing.csv"]
    assert "Cannot read" in files.errors[0].message


def test_labels_without_classes_use_those_of_the_data_set(tmp_path: Path) -> None:
    cifar = read(tmp_path, "cifar-100", labels="file_name,labels\na.png,aquarium fish\n")
    imagenet = read(tmp_path, labels="file_name,labels\na.png,n01440764\nb.png,aquarium fish\n")
    outside = read(tmp_path, "imagenet-r", labels="file_name,labels\na.png,n01440764\n")

    assert cifar.errors == [] and cifar.dataset is not None
    assert cifar.dataset.label_space.num_classes == 100
    assert places(imagenet) == [("labels.csv", "labels", 3)]
    assert "tench (n01440764) is no class of imagenet-r" in outside.errors[0].message


def test_file_of_co_occurrence_without_other_images_has_no_pairs(tmp_path: Path) -> None:
    labels = "file_name,labels\na.jpg,cat;car\nb.jpg,cat;car\n"

    files = read(tmp_path, classes=CLASSES, labels=labels, cooccurrence=labels)

    assert files.errors == [] and files.dataset is not None
    (advice,) = [advice for advice in find_advice(files.dataset) if "co-occurrence" in advice.kind]
    assert advice.kind == "no-co-occurrence"
    note = "The file with --cooccurrence has no effect: all of its images are images of the data set, and ignored. "
    assert advice.message.startswith(f"{note}No pair of classes")


def test_one_file_can_have_superclasses_and_groups(tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text("name\ncat\ndog\n")
    both = tmp_path / "both.csv"
    both.write_text("class,superclasses,groups\ncat,pets,animal\ndog,pets,animal\n")

    files = read_files("things", Inputs(classes=tmp_path / "classes.csv", superclasses=both, groups=both))

    assert files.errors == [] and files.dataset is not None
    assert files.dataset.label_space.superclasses.ids == ("pets",)
    assert files.dataset.label_space.groups == ("animal",)


def test_file_of_co_occurrence_is_checked_without_labels(tmp_path: Path) -> None:
    files = read(tmp_path, classes=CLASSES, cooccurrence="file_name,labels\na.jpg,cow\n")

    assert places(files) == [("cooccurrence.csv", "labels", 2)]


def test_vocabulary_is_checked(tmp_path: Path) -> None:
    files = read(tmp_path, classes=CLASSES, vocabulary="text,near\ntaxi,car\nbird,cow\n")

    assert places(files) == [("vocabulary.csv", "near", 3)]

"""Hand-written cases for the oracle of label spaces; every expected value was derived by hand from the spec."""

from pathlib import Path

import pytest
from oracle import label_space
from oracle.verdicts import Sample

CLASSES = """name,id,synonyms,superclass,groups
polar bear,bear-1,white bear;Ursus maritimus,bears;arctic,animal
brown bear,bear-2,,bears,animal
crane,3,,machines,
crane,heron-like,,,animal;water
snow,4,,arctic,
"""


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.fixture
def space(tmp_path: Path) -> label_space.Space:
    overlaps = write(tmp_path, "overlaps.csv", "class,also_correct\nbrown bear,polar bear\n1,snow\n")
    return label_space.read_space(write(tmp_path, "classes.csv", CLASSES), overlaps)


def test_classes(space: label_space.Space) -> None:
    assert space.ids == ["bear-1", "bear-2", "3", "heron-like", "4"]
    assert space.synonyms[0] == ["white bear", "Ursus maritimus"]
    assert space.superclasses == {"bears": {0, 1}, "arctic": {0, 4}, "machines": {2}}
    assert space.groups == {"animal": {0, 1, 3}, "water": {3}}
    assert space.overlaps == {1: {0, 4}}


def test_the_index_gives_the_order(tmp_path: Path) -> None:
    classes = write(tmp_path, "classes.csv", "index,name\n1,b\n0,a\n")

    assert label_space.read_space(classes).names == ["a", "b"]
    assert label_space.read_space(classes).ids == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("bear-1", {0}),
        ("white bear", {0}),
        ("brown bear", {1}),
        ("crane", {2, 3}),
        ("heron-like", {3}),
        ("0", {0}),
        ("3", {2, 3}),  # the ID of one class, and the index of another
        ("4", {4}),  # the ID and the index of the same class
        ("5", set()),
        ("bear", set()),
    ],
)
def test_candidates(space: label_space.Space, text: str, classes: set[int]) -> None:
    assert label_space.candidates(space, text) == classes


@pytest.mark.parametrize(
    ("field", "labels"),
    [
        ("polar bear", [0]),
        ("polar bear;snow", [0, 4]),
        ("0 1", [0, 1]),
        ("1 0 bear-2", [1, 0]),
        ("snow bear-2", [4, 1]),
        (" 4 ; white bear ", [4, 0]),
        ("", []),
    ],
)
def test_labels(space: label_space.Space, field: str, labels: list[int]) -> None:
    assert label_space.parse_labels(space, field) == labels


@pytest.mark.parametrize("field", ["crane", "3", "polar bear snow", "0 crane"])
def test_invalid_labels(space: label_space.Space, field: str) -> None:
    with pytest.raises(ValueError, match="classes"):
        label_space.parse_labels(space, field)


def test_samples(space: label_space.Space, tmp_path: Path) -> None:
    rows = "file_name,target,labels,problematic\na,snow,snow,\nb,0,brown bear;snow,\nc,1,,blurred\n"

    samples = label_space.read_samples(write(tmp_path, "labels.csv", rows), space)

    assert samples == {
        "a": Sample(4, frozenset({4}), False, False, 4),
        "b": Sample(0, frozenset({1, 4}), False, False, 1),
        "c": Sample(1, frozenset(), True, False, None),
    }
    assert [sample.is_rejected for sample in samples.values()] == [False, True, False]


def test_the_first_label_is_the_target_of_a_file_without_targets(space: label_space.Space, tmp_path: Path) -> None:
    samples = label_space.read_samples(write(tmp_path, "labels.csv", "file_name,labels\na,4 0\n"), space)

    assert samples["a"] == Sample(4, frozenset({0, 4}), False, False, 4)


def test_cooccurrence(space: label_space.Space) -> None:
    def labeled(*labels: int, problematic: bool = False) -> Sample:
        return Sample(labels[0], frozenset(labels), problematic, False, labels[0])

    samples = {"a": labeled(1, 2), "b": labeled(1, 2), "c": labeled(1, 4), "d": labeled(1, 4, problematic=True)}
    other = {"a": labeled(0, 2), "x": labeled(0, 2), "y": labeled(2, 3), "z": labeled(3, 2), "w": labeled(0, 1)}

    assert label_space.cooccurrence_pairs(samples, space) == {(1, 2)}
    assert label_space.cooccurrence_pairs(samples, space, minimum=1) == {(1, 2), (1, 4)}
    assert label_space.cooccurrence_pairs(samples, space, minimum=3) is None
    assert label_space.cooccurrence_pairs(samples, space, other) == {(2, 3)}
    assert label_space.cooccurrence_pairs(samples, space, other, minimum=1) == {(0, 2), (2, 3)}

"""Advice about a data set: each kind is found, with the names it is about, and a good data set needs none."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service.domain import Labels, LabelSource, LabelSpace, create_label_space
from service.evidence.cooccurrence import count_pairs
from service.evidence.dataset_check import Advice, Dataset, find_advice
from service.evidence.inputs import LabelInputs

GOOD: dict[str, tuple[Sequence[str], Sequence[str]]] = {  # superclasses and groups of each class
    "cat": (["pets"], ["animal"]),
    "dog": (["pets"], ["animal"]),
    "car": (["vehicles"], ["thing"]),
    "bus": (["vehicles"], ["thing"]),
    "oak": (["trees"], ["plant"]),
    "elm": (["trees"], ["plant"]),
}


def space(
    classes: Mapping[str, tuple[Sequence[str], Sequence[str]]] = GOOD,
    overlaps: Sequence[tuple[int, int]] = ((0, 1),),
    **fields: Any,
) -> LabelSpace:
    rows = [
        {"id": f"c{index}", "name": name, "synonyms": [], "superclasses": [*superclasses], "groups": [*groups]}
        | {"synset": "n02084071"}
        for index, (name, (superclasses, groups)) in enumerate(classes.items())
    ]
    return replace(create_label_space("things", rows, np.array(overlaps).reshape(-1, 2)), **fields)


def images(rows: Sequence[tuple[int, Sequence[int], bool]]) -> LabelInputs:
    """Return images with a target, labels, and whether they are problematic."""
    classes = np.array([label for _, labels, _ in rows for label in labels], dtype=np.int16)
    return LabelInputs(
        names=np.array([f"{row}.jpg".encode() for row in range(len(rows))]),
        all_targets=np.array([target for target, _, _ in rows], dtype=np.int16),
        rows=np.arange(len(rows), dtype=np.int32),
        labels=Labels(
            np.cumsum([0, *(len(labels) for _, labels, _ in rows)]).astype(np.int32),
            classes,
            np.full(len(classes), LabelSource.CORRECT, dtype=np.uint8),
        ),
        problematic=np.array([problematic for *_, problematic in rows]),
    )


EACH_CLASS = [
    (0, [0, 2], False),
    (0, [0, 2], False),
    (1, [1], False),
    (3, [3], False),
    (4, [4], False),
    (5, [5], False),
]


def good(rows: Sequence[tuple[int, Sequence[int], bool]] = EACH_CLASS, **fields: Any) -> Dataset:
    """Return a data set without advice, with some changes."""
    inputs = images(rows)
    pairs = count_pairs(inputs.labels, np.arange(1, len(rows) + 1, dtype=np.int32))
    return replace(Dataset(space(), inputs, pairs), **fields)


def find(dataset: Dataset, kind: str) -> Advice:
    (advice,) = [item for item in find_advice(dataset) if item.kind == kind]
    return advice


def kinds(dataset: Dataset) -> list[str]:
    return [item.kind for item in find_advice(dataset)]


def test_good_data_set_needs_no_advice() -> None:
    assert find_advice(good()) == []
    assert find_advice(good(predicted=np.arange(6, dtype=np.int16))) == []


def test_classes_without_superclass_are_listed() -> None:
    classes = GOOD | {"sky": ([], ["plant"]), "sea": ([], ["plant"])}
    dataset = Dataset(space(classes))

    advice = find(dataset, "classes-without-superclass")

    assert advice.items == ("sky", "sea")
    assert advice.message.startswith("2 classes have no superclass: 'sky', 'sea'. Their confusions")


def test_label_space_without_superclasses_gets_one_advice() -> None:
    dataset = Dataset(space({name: ([], groups) for name, (_, groups) in GOOD.items()}))

    assert kinds(dataset) == ["no-superclasses"]


@pytest.mark.parametrize(("size", "is_large"), [(2, False), (3, True), (4, True)])
def test_superclass_of_half_of_the_classes_is_large(size: int, is_large: bool) -> None:
    classes = {
        name: ([*superclasses, *(["big"] if index < size else [])], groups)
        for index, (name, (superclasses, groups)) in enumerate(GOOD.items())
    }

    assert ("large-superclasses" in kinds(Dataset(space(classes)))) == is_large
    if is_large:
        assert find(Dataset(space(classes)), "large-superclasses").items == (f"big ({size})",)


def test_superclass_of_one_class_is_probably_misspelled() -> None:
    advice = find(Dataset(space(GOOD | {"dog": (["pet"], ["animal"])})), "superclasses-of-one-class")

    assert advice.items == ("pets", "pet")
    assert "2 superclasses have one class: 'pets', 'pet'." in advice.message


def test_name_of_several_classes_is_listed_once() -> None:
    names, synonyms = ("crane", "Crane", "car", "bus", "oak", "elm"), ((), (), ("auto",), ("auto",), (), ("oak tree",))

    advice = find(Dataset(space(names=names, synonyms=synonyms)), "ambiguous-names")

    assert advice.items == ("crane", "auto")


def test_names_that_differ_in_case_are_listed_although_they_are_ids() -> None:
    names = ("Turkey", "turkey", "car", "bus", "oak", "elm")
    label_space = space(names=names, ids=names)

    advice = find(Dataset(label_space), "ambiguous-names")

    assert [label_space.parse(text) for text in ("Turkey", "turkey", "TURKEY")] == [0, 1, None]
    assert advice.items == ("turkey",)
    assert "can use such a name only if it is exactly the ID of a class" in advice.message


def test_names_that_labels_files_cannot_use_are_found() -> None:
    names = ("red; green", "car", "bus", "oak", "elm", "a;b")

    advice = find(Dataset(space(names=names)), "names-with-semicolons")

    assert advice.items == ("red; green", "a;b")
    assert "2 names have semicolons: 'red; green', 'a;b'. Labels files cannot use such names" in advice.message


def test_group_of_all_classes_is_found() -> None:
    classes = {name: (superclasses, [*groups, "everything"]) for name, (superclasses, groups) in GOOD.items()}

    assert find(Dataset(space(classes)), "groups-of-all-classes").items == ("everything",)


def test_missing_overlaps_and_vocabulary_are_mentioned() -> None:
    bare = space(overlaps=(), synsets=("",) * 6)

    assert kinds(Dataset(bare)) == ["no-overlaps", "no-vocabulary"]
    assert kinds(Dataset(bare, has_vocabulary=True)) == ["no-overlaps", "vocabulary-needs-encoder"]
    assert kinds(Dataset(bare, has_overlaps=True)) == ["no-vocabulary"]


@pytest.mark.parametrize("has_vocabulary", [False, True])
def test_advice_about_the_vocabulary_names_the_other_inputs_of_the_rule(has_vocabulary: bool) -> None:
    dataset = Dataset(space(overlaps=(), synsets=("",) * 6), has_vocabulary=has_vocabulary)

    (advice,) = [item for item in find_advice(dataset) if "vocabulary" in item.kind]

    assert all(option in advice.message for option in ("--encoder", "--images", "--train-images"))


def test_classes_and_groups_without_images_are_listed() -> None:
    dataset = good([row for row in EACH_CLASS if row[0] < 4])

    assert find(dataset, "classes-without-images").items == ("oak", "elm")
    assert find(dataset, "groups-without-images").items == ("plant",)


def test_problematic_images_are_no_images_of_a_group() -> None:
    dataset = good([(target, labels, target > 3) for target, labels, _ in EACH_CLASS])

    assert kinds(dataset) == ["groups-without-images"]


def test_rejected_target_is_an_image_of_its_class() -> None:
    dataset = good([*EACH_CLASS[:-1], (5, [4], False)])

    assert "classes-without-images" not in kinds(dataset)


def test_one_label_per_image_is_an_upper_bound() -> None:
    dataset = good([(index, [index], False) for index in range(6)], pairs=None)

    assert kinds(dataset) == ["one-label-per-image", "no-co-occurrence"]
    assert "upper bound" in find(dataset, "one-label-per-image").message


def test_labels_that_reject_most_targets_are_suspicious() -> None:
    rows = [((target + 1) % 6, labels, False) for target, labels, _ in EACH_CLASS]
    some = [*EACH_CLASS[:4], (0, [4], False), (0, [5], False)]

    assert "of 6 images" in find(good(rows), "rejected-targets").message
    assert "rejected-targets" not in kinds(good(some))


def test_minimum_that_no_pair_reaches_is_named() -> None:
    assert "in at least 7 images" in find(good(pairs=None, min_cooccurrence=7), "no-co-occurrence").message


def test_pairs_within_superclasses_never_apply() -> None:
    dataset = good([(0, [0, 1], False), (1, [1, 0], False), *((index, [index], False) for index in range(2, 6))])

    assert kinds(dataset) == ["no-co-occurrence-across-superclasses"]


def test_classes_that_are_never_predicted_or_never_a_label_are_listed() -> None:
    rows = [row for row in EACH_CLASS if row[0] != 5]
    predicted = np.array([0, 0, 1, 5, -1], dtype=np.int16)

    dataset = good(rows, predicted=predicted)

    assert find(dataset, "labels-never-predicted").items == ("car", "bus", "oak")
    assert find(dataset, "predictions-without-images").items == ("elm",)


@pytest.mark.parametrize(
    ("overlaps", "kinds_of_elm"), [([(4, 5)], []), ([(5, 4), (5, 5)], ["predictions-without-images"])]
)
def test_predictions_that_an_overlap_permits_are_no_errors(
    overlaps: Sequence[tuple[int, int]], kinds_of_elm: Sequence[str]
) -> None:
    rows = [row for row in EACH_CLASS if row[0] != 5]
    dataset = good(rows, label_space=space(overlaps=overlaps), predicted=np.array([5], dtype=np.int16))

    assert [kind for kind in kinds(dataset) if kind == "predictions-without-images"] == kinds_of_elm


def test_built_in_classes_are_not_criticized() -> None:
    rows = [(0, [0], False), (0, [0], False)]
    dataset = Dataset(space(GOOD | {"sky": ([], [])}, overlaps=()), images(rows), has_own_classes=False)

    assert kinds(dataset) == ["one-label-per-image", "no-co-occurrence"]
    assert kinds(replace(dataset, predicted=np.array([1, 2], dtype=np.int16)))[2:] == ["labels-never-predicted"]


def test_long_lists_are_shortened_in_the_message_only() -> None:
    classes = {f"class {index}": ((["a"] if index < 2 else []), []) for index in range(1000)}

    advice = find(Dataset(space(classes)), "classes-without-superclass")

    assert len(advice.items) == 998
    assert "998 classes have no superclass: 'class 2', 'class 3', 'class 4', 'class 5', 'class 6', and 993 more." in (
        advice.message
    )

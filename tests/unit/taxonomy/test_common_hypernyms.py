"""Superclasses from WordNet: synsets of names, and the most general hypernyms of a limited size."""

from dataclasses import replace

import pytest

from service.taxonomy.common_hypernyms import MIN_DEPTH, common_hypernyms, find_synsets, sense_of_package
from service.taxonomy.imagenet_1k import imagenet_1k
from service.taxonomy.wordnet import Taxonomy, load_taxonomy

# 1 > 2 > 3 > 4 > 5 > 6 (depth 5) > {60 > {600, 601}, 61}; 5 > 7 (depth 5) > {61, 70}; 70 has the lemma of 7
HYPERNYMS = {1: (), 2: (1,), 3: (2,), 4: (3,), 5: (4,), 6: (5,), 7: (5,)}
HYPERNYMS |= {60: (6,), 600: (60,), 601: (60,), 61: (6, 7), 70: (7,)}
LEMMAS = {synset: (f"s_{synset}",) for synset in HYPERNYMS} | {7: ("bank",), 60: ("bank",)}
TAXONOMY = Taxonomy("3.0", (), LEMMAS, HYPERNYMS, {})


@pytest.mark.parametrize(
    ("max_size", "expected"),
    [
        (2, [("bank (n00000007)", (2, 3)), ("bank (n00000060)", (0, 1))]),
        (3, [("s 6", (0, 1, 2)), ("bank", (2, 3))]),  # the name is unique, because 60 is below 6
        (4, [("s 6", (0, 1, 2)), ("bank", (2, 3))]),  # 5 has all four classes, but is too near to the root
    ],
)
def test_most_general_hypernyms_are_proposed(max_size: int, expected: list[tuple[str, tuple[int, ...]]]) -> None:
    result = common_hypernyms(TAXONOMY, [600, 601, 61, 70, None], max_size)

    assert result == expected


def test_class_that_is_a_hypernym_of_another_one_belongs_to_the_superclass() -> None:
    assert common_hypernyms(TAXONOMY, [60, 600, None], max_size=5) == [("s 6", (0, 1))]


@pytest.mark.slow
def test_proposals_for_imagenet_are_the_classes_below_a_common_hypernym() -> None:
    taxonomy, max_size = load_taxonomy(), 12

    result = common_hypernyms(taxonomy, taxonomy.classes, max_size)

    assert len(result) > 50
    assert len({name for name, _ in result}) == len(result)
    for _, classes in result:
        assert 2 <= len(classes) <= max_size
        common = set.intersection(*({*taxonomy.ancestry(taxonomy.classes[class_])} for class_ in classes))
        deep = {synset for synset in common if min(map(len, taxonomy.hypernym_paths(synset))) > MIN_DEPTH}
        assert deep
        below = [{i for i, c in enumerate(taxonomy.classes) if synset in taxonomy.ancestry(c)} for synset in deep]
        assert {*classes} in below


def test_synset_of_the_id_precedes_that_of_the_name() -> None:
    senses = {"tench": 1, "great_white_shark": 2, "Bus": 3, "bus": 4}
    space = imagenet_1k()
    names = ("tench", "great white shark", "school bus", "unknown thing", *space.names[4:])
    space = replace(space, names=names, synonyms=((),) * 1000, synsets=("n00000009", *[""] * 999))

    assert find_synsets(space, senses.get)[:4] == [9, 2, 4, None]


def test_names_of_the_package_are_unambiguous() -> None:
    find_sense = sense_of_package(load_taxonomy())

    assert find_sense("tench") == 1440764
    assert find_sense("Shark") == 1482330  # a hypernym
    assert find_sense("crane") is None  # two classes
    assert find_sense("nothing") is None

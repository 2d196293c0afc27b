"""Superclasses, compared with the oracle; valid and invalid files."""

import json

import numpy as np
import pytest
from errata.errors import InvalidEvidence
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st
from oracle.superclasses import matching_classes, share_superclass
from unit.evidence.official import oracle_lemmas

from service.taxonomy.superclasses import Grouping, default_grouping, parse_grouping

LEMMAS = (
    *(
        "dog",
        "Dog",
        "hound",
        "hunting_dog",
        "domestic_animal",
        "bird",
        "Bird",
        "organism",
        "artifact",
        "food",
        "entity",
    ),
    *("vehicle", "wheeled_vehicle", "wheeled vehicle", "tench", "Tinca_tinca", "tinca_tinca", "unicorn", ""),
)
ALL = np.arange(1000, dtype=np.int16)
PREDICATES = st.lists(st.lists(st.sampled_from(LEMMAS), min_size=1, max_size=3), max_size=3)


@pytest.fixture(scope="module")
def lemmas_of_class() -> list[set[str]]:
    """The lemma names of each class; test_wordnet.py compares the hypernym paths with NLTK."""
    return oracle_lemmas()


def parse(text: str) -> Grouping:
    return parse_grouping(text, "mine.json")


def members(text: str, name: str) -> set[int]:
    grouping = parse(text)
    return set(grouping.members[grouping.ids.index(name)].nonzero()[0].tolist())


@max_examples(100)
@given(st.dictionaries(st.text(max_size=5), PREDICATES, max_size=5))
def test_members_of_superclasses_agree_with_the_oracle(
    lemmas_of_class: list[set[str]], predicates: dict[str, list[list[str]]]
) -> None:
    grouping = parse("\n".join(json.dumps({name: predicate}) for name, predicate in predicates.items()))

    assert grouping.ids == tuple(predicates)
    assert grouping.members.shape == (len(predicates), 1000)
    for row, predicate in zip(grouping.members, predicates.values(), strict=True):
        assert set(row.nonzero()[0].tolist()) == matching_classes(predicate, lemmas_of_class)


@max_examples(25)
@given(st.lists(PREDICATES, max_size=4), st.lists(st.integers(0, 999), min_size=2, max_size=40))
def test_shared_superclasses_agree_with_the_oracle(
    lemmas_of_class: list[set[str]], predicates: list[list[list[str]]], classes: list[int]
) -> None:
    grouping = parse("\n".join(json.dumps({f"s{i}": predicate}) for i, predicate in enumerate(predicates)))

    same = grouping.superclasses.share(ALL[:, None], ALL[None])

    sets = [matching_classes(predicate, lemmas_of_class) for predicate in predicates]
    for a in classes:
        assert grouping.members[:, a].tolist() == [a in label_set for label_set in sets]
        for b in classes:
            assert same[a, b] == share_superclass(a, b, sets)


def test_all_lemmas_of_any_inner_list_must_occur() -> None:
    dogs, birds = members('{"x": [["dog"]]}', "x"), members('{"x": [["bird"]]}', "x")

    assert len(dogs) > 100 and len(birds) > 50
    assert members('{"x": [["dog"], ["bird"]]}', "x") == dogs | birds
    assert members('{"x": [["dog", "hunting_dog"]]}', "x") < dogs
    assert members('{"x": [["dog", "bird"]]}', "x") == set()


@pytest.mark.parametrize("lemma", ["Dog", "dogs", "do", "DOG", "wheeled vehicle"])
def test_lemma_is_matched_exactly(lemma: str) -> None:
    assert members(json.dumps({"x": [[lemma]]}), "x") == set()


def test_unknown_lemmas_and_empty_superclasses_are_valid() -> None:
    grouping = parse('{"unicorns": [["unicorn"]]}\n{"nothing": []}\n{"tench": [["unicorn"], ["tench"]]}')

    assert grouping.ids == ("unicorns", "nothing", "tench")
    assert [row.nonzero()[0].tolist() for row in grouping.members] == [[], [], [0]]


def test_empty_file_has_no_superclasses() -> None:
    grouping = parse("\n \n")

    assert grouping.members.shape == (0, 1000)
    assert np.array_equal(grouping.superclasses.share(ALL[:, None], ALL[None]), np.eye(1000, dtype=bool))


def test_lines_can_be_blank_or_have_several_superclasses() -> None:
    assert parse('{"a": [["dog"]], "b": [["bird"]]}\r\n\r\n{"c": [["food"]]}\n').ids == ("a", "b", "c")


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        ('{"b": [["dog"]]', "JSON object"),
        ("[]", "JSON object"),
        ('"b"', "JSON object"),
        ("null", "JSON object"),
        ('{"b": "dog"}', "lists of lemma names"),
        ('{"b": ["dog"]}', "lists of lemma names"),
        ('{"b": [["dog", 7]]}', "lists of lemma names"),
        ('{"b": {"dog": []}}', "lists of lemma names"),
        ('{"b": null}', "lists of lemma names"),
        ('{"a": [["bird"]]}', "duplicate superclass"),
    ],
)
def test_error_names_the_file_and_its_line(bad: str, expected: str) -> None:
    with pytest.raises(InvalidEvidence, match=expected) as error:
        parse(f'{{"a": [["dog"]]}}\n\n{bad}\n{{"c": []}}')

    assert "mine.json, line 3" in error.value.message
    assert error.value.violations[0].line == 3


def test_duplicate_superclass_in_one_line_is_rejected() -> None:
    with pytest.raises(InvalidEvidence, match="duplicate superclass"):
        parse('{"a": [["dog"]], "a": [["bird"]]}')


def test_default_grouping_has_no_empty_superclasses() -> None:
    grouping = default_grouping()

    assert len(set(grouping.ids)) == len(grouping.ids) == len(grouping.members)
    assert grouping.members.any(axis=1).all()

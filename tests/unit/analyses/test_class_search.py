"""The search of classes by a part of an ID, name, or synonym."""

from service.analyses.class_search import search_classes
from service.domain import create_label_space

ROWS = [
    {"id": "n1", "name": "tabby", "synonyms": ("tabby cat",)},
    {"id": "n2", "name": "tiger cat", "synonyms": ()},
    {"id": "n3", "name": "cat", "synonyms": ()},
    {"id": "n4", "name": "Café", "synonyms": ("coffee_house",)},
]
SPACE = create_label_space("pets", [{"superclasses": (), "groups": (), "synset": "", **row} for row in ROWS])


def test_the_class_that_a_text_identifies_comes_before_those_that_contain_it() -> None:
    assert search_classes(SPACE, "cat", 10) == [2, 0, 1]


def test_case_spaces_and_the_form_of_accents_do_not_matter() -> None:
    assert search_classes(SPACE, " CAFE\u0301 ", 10) == [3]
    assert search_classes(SPACE, "coffee h", 10) == [3]
    assert search_classes(SPACE, "N2", 10) == [1]


def test_the_number_of_classes_is_limited() -> None:
    assert search_classes(SPACE, "cat", 2) == [2, 0]
    assert search_classes(SPACE, "cat", 1) == [2]


def test_an_empty_text_and_an_unknown_text_match_nothing() -> None:
    assert search_classes(SPACE, "  ", 10) == []
    assert search_classes(SPACE, "unicorn", 10) == []

"""The classes of a label space as lines, and numbers that are IDs or names."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.domain import ClassPairs, LabelSpace, Superclasses, class_lines, classes_digest, parse_class_lines
from service.taxonomy.imagenet_1k import imagenet_1k

LINES = ['["a","apple","apfel"]', '["b","pear"]', '["c","apple","äpple\\nline","1"]']


def space_of(*classes: tuple[str, ...]) -> LabelSpace:
    return parse_class_lines("own", [json.dumps(texts) for texts in classes])


def test_lines_keep_ids_names_and_synonyms() -> None:
    space = parse_class_lines("own", LINES)
    again = parse_class_lines("own", class_lines(space))

    for read in (space, again):
        assert read.name == "own"
        assert read.num_classes == 3
        assert read.ids == ("a", "b", "c")
        assert read.names == ("apple", "pear", "apple")
        assert read.synonyms == (("apfel",), (), ("äpple\nline", "1"))
    assert all("\n" not in line for line in class_lines(space))


@pytest.mark.parametrize(
    "lines",
    [
        [],
        LINES[:1],
        [LINES[0], LINES[0]],
        [*LINES, "{}"],
        [*LINES, '["d"]'],
        [*LINES, '["d", 4]'],
        [*LINES, '"d, e"'],
        [*LINES, "["],
        [f'["{number}","x"]' for number in range(32_768)],
    ],
    ids=["none", "one", "duplicate IDs", "object", "no name", "number", "text", "no JSON", "too many"],
)
def test_invalid_lines_are_rejected(lines: list[str]) -> None:
    with pytest.raises(ValueError, match=r"expected|Expecting"):
        parse_class_lines("own", lines)


def test_the_digest_identifies_the_classes_and_their_order_alone() -> None:
    space = parse_class_lines("own", LINES)
    related = replace(
        space,
        name="other",
        superclasses=Superclasses.from_names([["fruit"], ["fruit"], []]),
        overlaps=ClassPairs.of(np.array([[0, 2]]), 3),
    )
    changed = [
        parse_class_lines("own", LINES[::-1]),
        parse_class_lines("own", LINES[:2]),
        parse_class_lines("own", [*LINES[:2], '["c","apple"]']),
        parse_class_lines("own", [*LINES[:2], LINES[2].replace('"c"', '"d"')]),
    ]

    assert classes_digest(space) == classes_digest(related)
    assert len({classes_digest(space), *map(classes_digest, changed)}) == 5
    assert len(classes_digest(space)) == 64


def test_imagenet_has_no_digest_so_that_keys_of_earlier_versions_stay_valid() -> None:
    assert classes_digest(imagenet_1k()) == ""
    assert classes_digest(replace(imagenet_1k(), superclasses=Superclasses.from_names([()] * 1000))) == ""


texts = st.sampled_from(["0", "1", "2", "3", "5", "01", "-1", "-0", "12345678901", "cat", "CAT", "1.0", " 2", "٣"])


@given(
    st.lists(st.tuples(texts, texts), min_size=2, max_size=6, unique_by=lambda row: row[0]),
    st.integers(-3, 8) | st.just(12_345_678_901),
)
@example([("1", "x"), ("a", "y")], 1)
@example([("1", "x"), ("a", "y")], 0)
def test_numbers_follow_the_rule_for_their_texts(rows: list[tuple[str, str]], number: int) -> None:
    space = space_of(*rows)
    index = number if 0 <= number < space.num_classes else -1
    expected = space.parse(str(number))

    assert space.numbers.get(number, index) == (-1 if expected is None else expected)


def test_imagenet_has_no_numbers_as_names() -> None:
    assert imagenet_1k().numbers == {}


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("A1", (0,)),  # the exact ID
        ("a1", (1,)),
        ("tabby", (0, 2)),
        ("TABBY", (0, 2)),
        ("tiger_cat", (1,)),
        ("b", (2, 3)),  # the ID of one class in upper case, and the name of another
        ("B", (2,)),
        ("3", (0, 3)),  # the name of one class, and the index of another
        ("2", (2,)),
        ("4", ()),
        ("", ()),
    ],
)
def test_exact_ids_come_first_and_other_texts_are_compared_without_case(text: str, classes: tuple[int, ...]) -> None:
    space = space_of(("A1", "Tabby", "3"), ("a1", "tiger cat"), ("B", "tabby"), ("x", "b"))

    assert space.match(text) == classes
    assert space.parse(text) == (classes[0] if len(classes) == 1 else None)

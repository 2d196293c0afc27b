"""Matching of texts with classes: the ID first, then a name or synonym, then the index (spec: "Definition")."""

import numpy as np
import pytest
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st

from service.domain import ClassPairs, LabelSpace, Superclasses, normalize


def label_space(*rows: tuple[str, str, tuple[str, ...]], overlaps: tuple[tuple[int, int], ...] = ()) -> LabelSpace:
    """Create a label space from an ID, a name, and synonyms for each class."""
    ids, names, synonyms = zip(*rows, strict=True)
    return LabelSpace(
        name="mine",
        ids=ids,
        names=names,
        synonyms=synonyms,
        synsets=("",) * len(rows),
        superclasses=Superclasses.from_names([()] * len(rows)),
        groups=(),
        group_members=np.zeros((0, len(rows)), dtype=bool),
        overlaps=ClassPairs.of(np.array(overlaps, dtype=np.int64), len(rows)),
    )


BIRDS = label_space(
    ("A-1", "crane", ("Kranich", "grue cendrée")),
    ("A-2", "crane", ("hoist",)),
    ("A-3", "Straußenvogel", ("big bird", "7")),
    ("crane bird", "heron", ("A-4x",)),
    ("4", "four", ()),
    ("6", "six", ()),
    ("A-7", "seven", ("A-1",)),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A-1", (0,)),  # the ID comes before the synonym of class 6
        ("a-1", (0, 6)),  # in another case, both
        ("Crane", (0, 1)),
        ("A-2", (1,)),
        ("crane", (0, 1)),
        ("CRANE", (0, 1)),
        ("crane_bird", (3,)),
        ("Kranich", (0,)),
        (" kranich ", (0,)),
        ("GRUE_CENDRÉE", (0,)),
        ("grue cendre\u0301e", (0,)),  # an accent of its own
        ("straußenvogel", (2,)),
        ("big_bird", (2,)),
        ("0", (0,)),
        ("3", (3,)),
        ("4", (4,)),  # the ID and the index of the same class
        ("6", (5, 6)),  # the ID of class 5, and the index of class 6
        ("7", (2,)),  # no index: there are seven classes
        ("5", (5,)),
        ("05", (5,)),
        ("8", ()),
        ("-1", ()),
        ("1.0", ()),
        ("٣", ()),  # digits of another script are no index
        ("", ()),
        ("nothing", ()),
    ],
)
def test_text_matches_classes_in_the_order_of_the_specification(text: str, expected: tuple[int, ...]) -> None:
    assert BIRDS.match(text) == expected
    assert BIRDS.parse(text) == (expected[0] if len(expected) == 1 else None)


def test_number_that_is_a_synonym_and_an_index_of_two_classes_is_ambiguous() -> None:
    space = label_space(("a", "first", ("1",)), ("b", "second", ()))

    assert space.match("1") == (0, 1)
    assert space.parse("1") is None


TEXTS = st.text(alphabet="abAB_ é1", min_size=1, max_size=3).filter(lambda text: text.strip() == text)


@pytest.mark.slow
@max_examples(300)
@given(
    st.lists(
        st.tuples(TEXTS, TEXTS, st.lists(TEXTS, max_size=2).map(tuple)),
        min_size=2,
        max_size=6,
        unique_by=lambda row: row[0],
    ),
    TEXTS,
)
def test_matches_agree_with_a_loop_over_the_classes(rows: list[tuple[str, str, tuple[str, ...]]], text: str) -> None:
    wanted = normalize(text)
    exact = [index for index, (id_, _, _) in enumerate(rows) if id_ == text]
    in_any_case = [
        index for index, (id_, name, synonyms) in enumerate(rows) if wanted in map(normalize, (id_, name, *synonyms))
    ]
    named = exact or in_any_case
    index = [int(text)] if text.isdigit() and int(text) < len(rows) else []

    assert label_space(*rows).match(text) == tuple(sorted({*named, *index}))


def test_overlap_has_a_reason_in_its_direction_only() -> None:
    space = label_space(("a", "mug", ()), ("b", "cup", ()), overlaps=((0, 1),))

    assert space.overlap_reason(0, 1) == "The label space lists 'cup' as also correct for 'mug'."
    assert space.overlap_reason(1, 0) == ""


def test_similar_names_are_the_names_as_written() -> None:
    assert BIRDS.similar_names("straussenvogel", 1) == ["Straußenvogel"]
    assert BIRDS.similar_names("xyz" * 1000) == []


def test_distinct_names_index_the_name_of_each_class() -> None:
    names, index = BIRDS.distinct_names

    assert len(set(names)) == len(names) == 6
    assert [names[number] for number in index.tolist()] == list(BIRDS.names)

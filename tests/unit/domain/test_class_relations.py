"""Relations between classes, with and without matrices, compared with sets."""

from collections.abc import Iterator

import numpy as np
import pytest
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st
from oracle.superclasses import share_superclass

from service.domain import DENSE_CLASSES, ClassPairs, Superclasses, class_relations

MANY = 32_767  # classes, for which there are no matrices
FORMS = pytest.mark.parametrize("is_dense", [True, False], ids=["dense", "sparse"])


@pytest.fixture
def use_form(is_dense: bool) -> Iterator[None]:
    """Use or avoid matrices for every number of classes of up to 12."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(class_relations, "DENSE_CLASSES", 12 if is_dense else 0)
        yield


@st.composite
def memberships(draw: st.DrawFn, num_classes: int | None = None) -> list[list[str]]:
    """Generate the names of the superclasses of each class."""
    size = num_classes or draw(st.integers(2, 12))
    names = st.lists(st.sampled_from("abcdef"), max_size=3)
    return draw(st.lists(names, min_size=size, max_size=size))


def sets(rows: list[list[str]]) -> list[set[int]]:
    return [{index for index, row in enumerate(rows) if name in row} for name in "abcdef"]


def all_pairs(size: int) -> list[tuple[int, int]]:
    return [(first, second) for first in range(size) for second in range(size)]


@FORMS
@max_examples(100)
@given(rows=memberships())
@pytest.mark.usefixtures("use_form")
def test_classes_share_a_superclass_as_in_the_oracle(rows: list[list[str]]) -> None:
    superclasses, classes = Superclasses.from_names(rows), np.arange(len(rows), dtype=np.int16)

    table = superclasses.share(classes[:, None], classes[None])
    first, second = np.array(all_pairs(len(rows)), dtype=np.int16).T
    single = superclasses.share(first, second)

    expected = [share_superclass(a, b, sets(rows)) for a, b in all_pairs(len(rows))]
    assert table.shape == (len(rows), len(rows))
    assert table.reshape(-1).tolist() == single.tolist() == expected


@max_examples(100)
@given(memberships())
def test_superclasses_of_a_class_are_those_of_its_row(rows: list[list[str]]) -> None:
    superclasses = Superclasses.from_names(rows)

    assert superclasses.num_classes == len(rows)
    assert superclasses.ids == tuple(dict.fromkeys(name for row in rows for name in row))
    for index, row in enumerate(rows):
        assert superclasses.names_of(index) == tuple(name for name in superclasses.ids if name in row)
        for other, other_row in enumerate(rows):
            shared = tuple(name for name in superclasses.ids if name in row and name in other_row)
            assert superclasses.shared_names(index, other) == shared


@max_examples(100)
@given(memberships())
def test_shared_superclasses_of_many_pairs_are_those_of_each(rows: list[list[str]]) -> None:
    superclasses = Superclasses.from_names(rows)
    first, second = np.array(all_pairs(len(rows)), dtype=np.int16).T

    pairs, numbers = superclasses.shared(first, second)

    for pair, (a, b) in enumerate(all_pairs(len(rows))):
        names = tuple(superclasses.ids[number] for number in numbers[pairs == pair].tolist())
        assert names == superclasses.shared_names(a, b)
    assert pairs.tolist() == sorted(pairs.tolist())


@pytest.mark.slow
@max_examples(100)
@given(memberships())
def test_members_and_masks_are_the_classes_of_a_superclass(rows: list[list[str]]) -> None:
    superclasses = Superclasses.from_names(rows)

    assert len(superclasses.members) == len(superclasses.ids)
    for name, members in zip(superclasses.ids, superclasses.members, strict=True):
        mask = superclasses.mask(name)
        expected = [index for index, row in enumerate(rows) if name in row]
        assert members.tolist() == expected
        assert mask is not None
        assert mask.nonzero()[0].tolist() == expected
    assert superclasses.mask("none has this name") is None


@max_examples(100)
@given(memberships())
def test_similar_classes_share_a_superclass(rows: list[list[str]]) -> None:
    superclasses = Superclasses.from_names(rows)

    for index in range(len(rows)):
        expected = [other for other in range(len(rows)) if share_superclass(index, other, sets(rows))]
        assert superclasses.similar_to(index).tolist() == expected


@max_examples(100)
@given(memberships(), st.integers(0, 2**32 - 1))
def test_totals_are_sums_over_the_classes_of_a_superclass(rows: list[list[str]], seed: int) -> None:
    superclasses = Superclasses.from_names(rows)
    values = np.random.default_rng(seed).integers(0, 1 << 40, (len(rows), 3))

    totals = superclasses.totals(values)

    assert totals.shape == (len(superclasses.ids), 3)
    for total, members in zip(totals.tolist(), superclasses.members, strict=True):
        assert total == [sum(values[index, column].item() for index in members) for column in range(3)]


@max_examples(100)
@given(memberships())
def test_mask_of_members_gives_the_same_superclasses(rows: list[list[str]]) -> None:
    by_names = Superclasses.from_names(rows)
    masks = [[name in row for row in rows] for name in by_names.ids]

    by_mask = Superclasses.from_members(by_names.ids, np.array(masks, dtype=bool).reshape(-1, len(rows)))

    assert by_mask.ids == by_names.ids
    assert by_mask.offsets.tolist() == by_names.offsets.tolist()
    assert by_mask.numbers.tolist() == by_names.numbers.tolist()


def test_superclass_without_classes_is_possible() -> None:
    superclasses = Superclasses.from_members(("empty", "all", "none"), np.array([[False] * 3, [True] * 3, [False] * 3]))

    assert [members.tolist() for members in superclasses.members] == [[], [0, 1, 2], []]
    assert superclasses.totals(np.ones((3, 1))).tolist() == [[0], [3], [0]]


@FORMS
@max_examples(100)
@given(pairs=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=20), symmetric=st.booleans())
@pytest.mark.usefixtures("use_form")
def test_relation_has_exactly_its_pairs(pairs: list[tuple[int, int]], symmetric: bool) -> None:
    relation = ClassPairs.of(np.array(pairs, dtype=np.int16), 12, symmetric)
    classes = np.arange(12, dtype=np.int16)

    expected = {*pairs, *((second, first) for first, second in pairs if symmetric)}
    assert [tuple(pair) for pair in relation.as_array().tolist()] == sorted(expected)
    assert len(relation) == len(expected)
    table = relation.holds(classes[:, None], classes[None])
    assert {(first, second) for first, second in np.argwhere(table).tolist()} == expected
    assert [bool(relation.holds(np.int16(a), np.int16(b))) for a, b in all_pairs(12)] == table.reshape(-1).tolist()


def test_the_highest_classes_of_the_largest_label_space_are_related() -> None:
    assert MANY > DENSE_CLASSES
    last = np.array([MANY - 1, MANY - 2, 0], dtype=np.int16)
    rows = [[] for _ in range(MANY)]
    rows[0] = rows[MANY - 1] = ["ends"]
    superclasses, relation = Superclasses.from_names(rows), ClassPairs.of(np.array([[MANY - 1, 0]]), MANY)

    assert relation.holds(last, np.zeros(3, dtype=np.int16)).tolist() == [True, False, False]
    assert relation.as_array().tolist() == [[MANY - 1, 0]]
    assert superclasses.share(last, np.zeros(3, dtype=np.int16)).tolist() == [True, False, True]
    assert superclasses.similar_to(0).tolist() == [0, MANY - 1]

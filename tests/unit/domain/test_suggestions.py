"""Suggestions of missing labels, compared with a slow independent count of votes."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain import (
    ClassPairs,
    Evidence,
    Labels,
    ModelVotes,
    Suggestions,
    Superclasses,
    count_agreeing,
    suggest_labels,
)

NUM_CLASSES = 5


def make_evidence(labels: list[set[int]], problematic: list[bool], overlaps: list[tuple[int, int]]) -> Evidence:
    """Return evidence whose targets are the smallest labels, or class 0."""
    offsets = np.cumsum([0, *map(len, labels)]).astype(np.int32)
    classes = np.array([label for of_image in labels for label in sorted(of_image)], dtype=np.int16)
    return Evidence(
        targets=np.array([min(of_image, default=0) for of_image in labels], dtype=np.int16),
        labels=Labels(offsets, classes, np.ones(len(classes), dtype=np.uint8)),
        problematic=np.array(problematic),
        overlap=ClassPairs.of(np.array(overlaps, dtype=np.int64).reshape(-1, 2), NUM_CLASSES),
        superclasses=Superclasses.from_names([()] * NUM_CLASSES),
        cooccurrence=None,
        non_prototypical=None,
        oov=None,
    )


def make_votes(predicted: list[list[int]], probability: list[list[float]] | None = None) -> ModelVotes:
    classes = np.array(predicted, dtype=np.int16)
    known = np.full(classes.shape, np.nan) if probability is None else np.array(probability)
    names = tuple(f"a{number}" for number in range(len(predicted)))
    return ModelVotes(names, classes, known.astype(np.float16))


def to_tuples(suggestions: Suggestions) -> list[tuple[int, int, int]]:
    columns = (suggestions.rows, suggestions.classes, suggestions.num_agreeing)
    return [*zip(*(column.tolist() for column in columns), strict=True)]


@given(data=st.data(), num_images=st.integers(1, 6), num_models=st.integers(0, 7), needed=st.integers(1, 4))
def test_suggestions_are_the_frequent_classes_that_are_not_labels(
    data: st.DataObject, num_images: int, num_models: int, needed: int
) -> None:
    classes = st.integers(0, NUM_CLASSES - 1)
    labels = data.draw(st.lists(st.sets(classes, max_size=3), min_size=num_images, max_size=num_images))
    problematic = data.draw(st.lists(st.booleans(), min_size=num_images, max_size=num_images))
    overlaps = data.draw(st.lists(st.tuples(classes, classes), max_size=2))
    votes = data.draw(
        st.lists(
            st.lists(st.integers(-1, NUM_CLASSES - 1), min_size=num_images, max_size=num_images),
            min_size=num_models,
            max_size=num_models,
        )
    )
    evidence = make_evidence(labels, problematic, overlaps)

    empty = np.zeros((0, num_images), dtype=np.int16)
    given_votes = make_votes(votes) if votes else ModelVotes((), empty, empty.astype(np.float16))
    actual = to_tuples(suggest_labels(evidence, given_votes, needed))

    expected = set()
    for image in range(num_images):
        counts = Counter(model[image] for model in votes)
        for class_index, count in counts.items():
            is_correct = class_index in labels[image] or (min(labels[image], default=0), class_index) in overlaps
            if class_index >= 0 and count >= needed and not is_correct and not problematic[image]:
                expected.add((image, class_index, count))
    assert set(actual) == expected
    assert len(actual) == len(expected)
    assert [count for _, _, count in actual] == sorted((count for _, _, count in actual), reverse=True)


def test_overlaps_are_those_of_the_first_label_if_labels_reject_the_target() -> None:
    """Class 2 overlaps with the target 0, which is wrong, and class 3 with the label 1. Only class 3 is correct."""
    evidence = replace(make_evidence([{1}, {1}], [False] * 2, [(0, 2), (1, 3)]), targets=np.zeros(2, dtype=np.int16))

    assert to_tuples(suggest_labels(evidence, make_votes([[2, 3]] * 3))) == [(0, 2, 3)]


def test_equal_agreement_is_ordered_by_the_mean_probability_of_the_models_that_agree() -> None:
    evidence = make_evidence([{0}, {0}, {0}], [False] * 3, [])
    votes = make_votes(
        [[1, 1, 2], [1, 1, 2], [1, 1, 2], [1, 3, 0]],
        [[0.5, 0.25, 0.75], [0.5, 0.5, 0.75], [0.5, np.nan, 0.75], [0.5, 1.0, 1.0]],
    )

    suggestions = suggest_labels(evidence, votes)

    assert to_tuples(suggestions) == [(0, 1, 4), (2, 2, 3), (1, 1, 3)]
    assert suggestions.confidence.tolist() == [0.5, 0.75, 0.375]


@pytest.mark.parametrize(("num_models", "expected"), [(0, 3), (1, 3), (5, 3), (6, 3), (7, 4), (100, 50)])
def test_half_of_the_models_and_at_least_three_must_agree_by_default(num_models: int, expected: int) -> None:
    assert make_votes([[1]] * num_models).default_agreement == expected


def test_two_models_that_agree_suggest_nothing_by_default() -> None:
    evidence = make_evidence([{0}], [False], [])

    assert to_tuples(suggest_labels(evidence, make_votes([[1], [1]]))) == []
    assert to_tuples(suggest_labels(evidence, make_votes([[1], [1]]), min_agreement=2)) == [(0, 1, 2)]


def test_a_suggestion_needs_at_least_one_model() -> None:
    with pytest.raises(ValueError, match="min_agreement is 0"):
        suggest_labels(make_evidence([{0}], [False], []), make_votes([[1]]), min_agreement=0)


def test_the_models_that_agree_are_counted() -> None:
    votes = make_votes([[1, 2], [1, 3], [4, 3]])

    counts = count_agreeing(votes, np.array([0, 0, 1]), np.array([1, 4, 0], dtype=np.int16))

    assert counts.tolist() == [2, 1, 0]


def test_the_number_of_suggestions_at_a_selected_agreement_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.domain.suggestions.MAX_SUGGESTIONS", 3)
    evidence = make_evidence([{0}, {0}], [False, False], [])

    assert len(suggest_labels(evidence, make_votes([[1, 1], [2, 0]]), min_agreement=1).rows) == 3
    with pytest.raises(ValueError, match=r"more than 3 classes\. Use a larger number"):
        suggest_labels(evidence, make_votes([[1, 1], [2, 2]]), min_agreement=1)

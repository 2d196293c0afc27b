"""Co-occurrence, compared with the oracle. No image supports its own error."""

from dataclasses import replace

import numpy as np
import pytest
from errata.errors import InvalidEvidence
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st
from oracle import cooccurrence as oracle

from service.domain import LabelSource, Superclasses
from service.evidence.bundle import Bundle
from service.evidence.cooccurrence import cooccurrence_relation, count_pairs
from service.evidence.inputs import CooccurrenceInputs
from service.evidence.labels import pack_labels
from service.rules.decide import decide
from service.rules.table import error_types

CLASSES = st.sampled_from((0, 1, 2, 500, 998, 999))
IMAGES = st.lists(st.lists(CLASSES, max_size=4, unique=True), max_size=30)


def counted(images: list[list[int]]) -> CooccurrenceInputs:
    """Count pairs; the images are numbered 11, 21, 31 …"""
    labels = pack_labels([dict.fromkeys(image, LabelSource.REAL) for image in images])
    return count_pairs(labels, np.array([10 * number + 1 for number in range(1, len(images) + 1)], dtype=np.int32))


@max_examples(150)
@given(IMAGES)
def test_pair_counts_agree_with_the_oracle(images: list[list[int]]) -> None:
    result = counted(images)

    pairs = [tuple(pair) for pair in result.classes.tolist()]
    assert pairs == sorted(pairs)
    assert dict(zip(pairs, result.counts.tolist(), strict=True)) == oracle.count_pairs(map(set, images))


@max_examples(100)
@given(IMAGES)
def test_examples_are_images_that_show_both(images: list[list[int]]) -> None:
    result = counted(images)

    assert result.examples.shape == (len(result.classes), 3)
    for pair, examples, count in zip(result.classes.tolist(), result.examples.tolist(), result.counts, strict=True):
        showing = [10 * number + 1 for number, image in enumerate(images, start=1) if {*pair} <= {*image}]
        assert examples == [*showing, 0, 0, 0][:3]
        assert count == len(showing)


@max_examples(50)
@given(IMAGES, st.lists(st.sets(CLASSES, max_size=3), max_size=3))
def test_pairs_occur_twice_and_share_no_superclass(images: list[list[int]], superclasses: list[set[int]]) -> None:
    names = [[str(number) for number, members in enumerate(superclasses) if index in members] for index in range(1000)]

    relation = cooccurrence_relation(counted(images), Superclasses.from_names(names))

    pairs = {(first, second) for first, second in relation.as_array().tolist()}
    assert pairs == {(second, first) for first, second in pairs}
    assert {(a, b) for a, b in pairs if a < b} == oracle.pairs(map(set, images), superclasses)


@max_examples(50)
@given(IMAGES, st.integers(1, 4))
def test_minimum_of_images_can_be_set(images: list[list[int]], min_count: int) -> None:
    relation = cooccurrence_relation(counted(images), Superclasses.from_names([()] * 1000), min_count)

    frequent = {pair for pair, count in oracle.count_pairs(map(set, images)).items() if count >= min_count}
    assert {(a, b) for a, b in relation.as_array().tolist() if a < b} == frequent


def test_bundle_counts_pairs_over_all_images_with_real_labels(
    imagenet_real: Bundle, real_label_sets: dict[str, set[int]]
) -> None:
    pairs = imagenet_real.pairs
    assert pairs is not None

    result = dict(zip(map(tuple, pairs.classes.tolist()), pairs.counts.tolist(), strict=True))

    assert result == oracle.count_pairs(real_label_sets.values())


def test_image_does_not_support_its_own_error(imagenet_real: Bundle, real_label_sets: dict[str, set[int]]) -> None:
    # a pair that image i adds lies within its labels, and those are decided by the rules 1 to 3
    for name, labels in real_label_sets.items():
        if len(labels) > 1:
            types = error_types(imagenet_real.verdicts[imagenet_real.row(name)][sorted(labels)])
            assert types.max() <= 3, name


def test_excluding_an_image_from_the_counts_does_not_change_its_verdicts(
    imagenet_real: Bundle, real_label_sets: dict[str, set[int]]
) -> None:
    evidence, pairs = imagenet_real.evidence, imagenet_real.pairs
    assert pairs is not None
    place = {tuple(pair): number for number, pair in enumerate(pairs.classes.tolist())}
    several = [name for name, labels in real_label_sets.items() if len(labels) > 1]

    for name in several[::60]:
        own = [place[pair] for pair in oracle.count_pairs([real_label_sets[name]])]
        counts = pairs.counts.copy()
        counts[own] -= 1
        relation = cooccurrence_relation(replace(pairs, counts=counts), evidence.superclasses)
        row = imagenet_real.row(name)
        alone = replace(evidence.rows(row, row + 1), cooccurrence=relation)

        assert own
        assert np.array_equal(decide(alone)[0], imagenet_real.verdicts[row]), name


def test_pairs_of_the_highest_classes_are_counted() -> None:
    result = counted([[32_766, 32_765], [32_765, 32_766], [7]])

    assert (result.classes.tolist(), result.counts.tolist()) == ([[32_765, 32_766]], [2])
    assert result.examples.tolist() == [[11, 21, 0]]


def test_images_with_too_many_pairs_of_labels_are_refused() -> None:
    with pytest.raises(InvalidEvidence, match=r"536,821,761 pairs of labels. Expected at most 33,554,432"):
        counted([list(range(32_767))])

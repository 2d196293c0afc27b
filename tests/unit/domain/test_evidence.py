"""The arrays of samples: slices and selections hold what plain lists would."""

from dataclasses import FrozenInstanceError
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.rules.worlds import World, worlds

from service.domain import Labels, LabelSource, Strata, strata_of

LABELS = st.lists(
    st.dictionaries(st.integers(0, 999), st.sampled_from(list(LabelSource)[1:]), max_size=4), min_size=1, max_size=12
)


def packed(samples: list[dict[int, LabelSource]]) -> Labels:
    return Labels(
        offsets=np.cumsum([0, *map(len, samples)]).astype(np.int32),
        classes=np.array([label for sample in samples for label in sample], dtype=np.int16),
        sources=np.array([source for sample in samples for source in sample.values()], dtype=np.uint8),
    )


def unpacked(labels: Labels) -> list[dict[int, LabelSource]]:
    rows = range(len(labels.offsets) - 1)
    return [dict(zip(labels.of(row).tolist(), labels.sources_of(row), strict=True)) for row in rows]


@settings(max_examples=50, deadline=None)
@given(LABELS)
def test_labels_read_back(samples: list[dict[int, LabelSource]]) -> None:
    assert unpacked(packed(samples)) == samples
    assert packed(samples).counts.tolist() == [len(sample) for sample in samples]


@settings(max_examples=50, deadline=None)
@given(LABELS, st.data())
def test_a_run_of_labels_is_a_slice(samples: list[dict[int, LabelSource]], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(samples)))
    stop = data.draw(st.integers(start, len(samples)))

    assert unpacked(packed(samples).rows(start, stop)) == samples[start:stop]


@settings(max_examples=50, deadline=None)
@given(LABELS, st.data())
def test_taken_labels_come_in_the_order_asked_for(samples: list[dict[int, LabelSource]], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(samples) - 1), max_size=12))

    taken = packed(samples).take(np.array(rows, dtype=np.intp))

    assert unpacked(taken) == [samples[row] for row in rows]


@settings(max_examples=30, deadline=None)
@given(worlds(max_samples=8))
def test_the_label_mask_names_the_labels(world: World) -> None:
    result = [set(row.nonzero()[0].tolist()) for row in world.evidence.label_mask]

    assert result == [set(sample.multi_labels) for sample in world.samples]


@settings(max_examples=30, deadline=None)
@given(worlds(max_samples=8), st.integers(0, 2**32 - 1))
def test_what_is_related_to_a_label_is_related_to_one_of_them(world: World, seed: int) -> None:
    relation = np.random.default_rng(seed).random((1000, 1000)) < 0.002

    related = world.evidence.related_to_a_label(relation)

    for row, sample in zip(related, world.samples, strict=True):
        expected = {other for label in sample.multi_labels for other in relation[label].nonzero()[0].tolist()}
        assert set(row.nonzero()[0].tolist()) == expected


def test_records_are_frozen() -> None:
    labels = packed([{1: LabelSource.REAL}])

    with pytest.raises(FrozenInstanceError):
        labels.offsets = np.zeros(2, dtype=np.int32)


CLASSES = st.sampled_from((0, 1, 500, 999))
ROWS = st.lists(st.tuples(CLASSES, st.booleans(), st.tuples(*[st.booleans()] * 3), st.booleans()), max_size=25)


def strata_of_rows(rows: list[tuple[int, bool, tuple[bool, bool, bool], bool]]) -> Strata:
    return strata_of(
        np.array([target for target, _, _, _ in rows], dtype=np.int16),
        np.array([counted for _, counted, _, _ in rows], dtype=bool),
        np.array([groups for _, _, groups, _ in rows], dtype=bool).reshape(-1, 3).T,
    )


@settings(max_examples=100, deadline=None)
@given(ROWS)
def test_samples_share_a_stratum_if_target_groups_and_counting_are_the_same(
    rows: list[tuple[int, bool, tuple[bool, bool, bool], bool]],
) -> None:
    strata = strata_of_rows(rows)

    alike = {}
    for stratum, (target, counted, groups, _) in zip(strata.of_sample.tolist(), rows, strict=True):
        kind = (target, counted, groups if counted else None)
        assert alike.setdefault(kind, stratum) == stratum
        assert bool(strata.set_aside[stratum]) is not counted
        assert strata.members[:, stratum].tolist() == [counted, *(counted and held for held in groups)]
    assert len(set(alike.values())) == len(alike)


@settings(max_examples=150, deadline=None)
@given(ROWS)
def test_the_weights_of_samples_with_a_property_add_up_to_the_mean_share_of_their_classes(
    rows: list[tuple[int, bool, tuple[bool, bool, bool], bool]],
) -> None:
    strata = strata_of_rows(rows)
    weights = strata.class_weights[:, strata.of_sample]  # (4, N)

    for place in range(4):
        members = [row for row in rows if row[1] and (place == 0 or row[2][place - 1])]
        shares = [
            Fraction(sum(held for *_, held in own), len(own))
            for own in ([row for row in members if row[0] == target] for target in {row[0] for row in members})
        ]
        expected = float(sum(shares) / len(shares)) if shares else 0.0
        assert weights[place][[held for *_, held in rows]].sum() == pytest.approx(expected, abs=1e-12)

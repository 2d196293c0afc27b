"""Arrays of samples: slices, selections, and strata agree with plain lists."""

from dataclasses import FrozenInstanceError
from fractions import Fraction

import numpy as np
import pytest
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st
from unit.rules.scenarios import ALL_CLASSES, Scenario, scenarios

from service.domain import Labels, LabelSource, Predictions, Strata, build_strata

LABELS = st.lists(
    st.dictionaries(st.integers(0, 999), st.sampled_from(list(LabelSource)[1:]), max_size=4), min_size=1, max_size=12
)


def to_labels(samples: list[dict[int, LabelSource]]) -> Labels:
    return Labels(
        offsets=np.cumsum([0, *map(len, samples)]).astype(np.int32),
        classes=np.array([label for sample in samples for label in sample], dtype=np.int16),
        sources=np.array([source for sample in samples for source in sample.values()], dtype=np.uint8),
    )


def to_dicts(labels: Labels) -> list[dict[int, LabelSource]]:
    rows = range(len(labels.offsets) - 1)
    return [dict(zip(labels.of(row).tolist(), labels.sources_of(row), strict=True)) for row in rows]


@max_examples(50)
@given(LABELS)
def test_labels_round_trip(samples: list[dict[int, LabelSource]]) -> None:
    assert to_dicts(to_labels(samples)) == samples
    assert to_labels(samples).counts.tolist() == [len(sample) for sample in samples]


@max_examples(50)
@given(LABELS, st.data())
def test_rows_of_labels_are_a_slice(samples: list[dict[int, LabelSource]], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(samples)))
    stop = data.draw(st.integers(start, len(samples)))

    assert to_dicts(to_labels(samples).rows(start, stop)) == samples[start:stop]


@max_examples(50)
@given(LABELS, st.data())
def test_selected_labels_keep_the_order_of_the_selection(
    samples: list[dict[int, LabelSource]], data: st.DataObject
) -> None:
    rows = data.draw(st.lists(st.integers(0, len(samples) - 1), max_size=12))

    selection = to_labels(samples).take(np.array(rows, dtype=np.intp))

    assert to_dicts(selection) == [samples[row] for row in rows]


@max_examples(30)
@given(scenarios(max_samples=8), st.integers(0, 2**32 - 1))
def test_relation_with_any_label_is_the_union_over_the_labels(scenario: Scenario, seed: int) -> None:
    random, evidence = np.random.default_rng(seed), scenario.evidence
    relation = random.random((1000, 1000)) < 0.002
    top1 = random.integers(0, 1000, (len(evidence), 3), dtype=np.int16)

    every = evidence.any_label(lambda labels, predicted: relation[labels, predicted], ALL_CLASSES)
    some = evidence.any_label(lambda labels, predicted: relation[labels, predicted], top1)

    for row, sample in enumerate(scenario.samples):
        expected = {other for label in sample.multi_labels for other in relation[label].nonzero()[0].tolist()}
        assert set(every[row].nonzero()[0].tolist()) == expected
        assert some[row].tolist() == [predicted in expected for predicted in top1[row].tolist()]


def test_records_are_frozen() -> None:
    labels = to_labels([{1: LabelSource.REAL}])

    with pytest.raises(FrozenInstanceError):
        labels.offsets = np.zeros(2, dtype=np.int32)


CLASSES = st.sampled_from((0, 1, 500, 999))
ROWS = st.lists(st.tuples(CLASSES, st.booleans(), st.tuples(*[st.booleans()] * 3), st.booleans()), max_size=25)


def strata_from_rows(rows: list[tuple[int, bool, tuple[bool, bool, bool], bool]]) -> Strata:
    return build_strata(
        np.array([target for target, _, _, _ in rows], dtype=np.int16),
        np.array([counted for _, counted, _, _ in rows], dtype=bool),
        {f"group {place}": np.array([groups[place] for _, _, groups, _ in rows], dtype=bool) for place in range(3)},
    )


@max_examples(100)
@given(ROWS)
def test_samples_share_a_stratum_if_they_have_the_same_target_and_groups(
    rows: list[tuple[int, bool, tuple[bool, bool, bool], bool]],
) -> None:
    strata = strata_from_rows(rows)

    stratum_of_key = {}
    for stratum, (target, counted, groups, _) in zip(strata.sample_strata.tolist(), rows, strict=True):
        key = (target, counted, groups if counted else None)
        assert stratum_of_key.setdefault(key, stratum) == stratum
        assert bool(strata.problematic[stratum]) is not counted
        assert strata.weights[0, :, stratum].tolist() == [counted, *(counted and in_group for in_group in groups)]
    assert len(set(stratum_of_key.values())) == len(stratum_of_key)


@max_examples(150)
@given(ROWS)
def test_weights_of_samples_with_a_property_add_up_to_the_mean_share_over_classes(
    rows: list[tuple[int, bool, tuple[bool, bool, bool], bool]],
) -> None:
    strata = strata_from_rows(rows)
    weights = strata.weights[1][:, strata.sample_strata]  # (4, N)

    for group in range(4):
        members = [row for row in rows if row[1] and (group == 0 or row[2][group - 1])]
        shares = [
            Fraction(sum(has_property for *_, has_property in samples), len(samples))
            for samples in ([row for row in members if row[0] == target] for target in {row[0] for row in members})
        ]
        expected = float(sum(shares) / len(shares)) if shares else 0.0
        selected = [has_property for *_, has_property in rows]
        assert weights[group][selected].sum() == pytest.approx(expected, abs=1e-12)


@max_examples(150)
@given(ROWS)
def test_merged_strata_give_each_sample_the_same_weights(
    rows: list[tuple[int, bool, tuple[bool, bool, bool], bool]],
) -> None:
    strata = strata_from_rows(rows)
    merged = strata.merged()

    before, after = (merging.weights[:, :, merging.sample_strata] for merging in (strata, merged))
    assert before.tolist() == after.tolist()
    assert merged.problematic[merged.sample_strata].tolist() == strata.problematic[strata.sample_strata].tolist()
    columns = [*map(tuple, merged.weights.reshape(8, -1).T.tolist())]
    assert len(set(columns)) == len(columns) == len(merged.problematic)


def pieces(with_probability: list[bool]) -> list[Predictions]:
    return [
        Predictions(np.array([index], dtype=np.int16), np.array([index / 8], dtype=np.float16) if present else None)
        for index, present in enumerate(with_probability)
    ]


def test_pieces_are_concatenated_in_order() -> None:
    predictions = Predictions.concatenate(pieces([True, True, True]))

    assert predictions.top1.tolist() == [0, 1, 2]
    assert predictions.top1.dtype == np.int16
    assert predictions.probability is not None
    assert predictions.probability.tolist() == [0, 0.125, 0.25]
    assert predictions.probability.dtype == np.float16


@pytest.mark.parametrize("with_probability", [[False, False], [True, False], [False, True]])
def test_probabilities_are_dropped_unless_all_pieces_have_them(with_probability: list[bool]) -> None:
    assert Predictions.concatenate(pieces(with_probability)).probability is None


def test_probabilities_that_are_all_nan_are_none() -> None:
    """Predictions files without probabilities have NaN, and so has a piece without a readable image."""
    top1, unknown = np.zeros(2, dtype=np.int16), np.full(2, np.nan, dtype=np.float16)
    known = np.array([0.5, np.nan], dtype=np.float16)

    whole = Predictions.concatenate([Predictions(top1, unknown), Predictions(top1, unknown)])
    assert whole.probability is not None and whole.without_unknown_probabilities().probability is None
    mixed = Predictions.concatenate([Predictions(top1, unknown), Predictions(top1, known)])
    assert mixed.without_unknown_probabilities() is mixed
    assert [mixed.probability_of(image) for image in range(4)] == [None, None, 0.5, None]
    assert Predictions(top1).probability_of(0) is None

"""The table of every possible prediction, against the oracle that judges one at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from oracle.verdicts import Facts, byte, judge
from unit.rules.worlds import ALSO_ASKED, INTERESTING, World, evidence_of, worlds

from service.domain import ErrorType, Outcome
from service.rules.decide import decide, trace
from service.rules.table import STOPPED_AT_TARGET, error_types, tags

ASKED = (*INTERESTING, *ALSO_ASKED)


@settings(max_examples=200, deadline=None)
@given(worlds(max_samples=40))
def test_every_prediction_gets_the_verdict_of_the_oracle(world: World) -> None:
    table = decide(world.evidence)

    assert table.shape == (len(world.samples), 1000)
    assert table.dtype == np.uint8
    for row, sample in enumerate(world.samples):
        for predicted in ASKED:
            expected = judge(sample, row, predicted, world.facts)
            got = int(table[row, predicted])
            assert got == byte(expected), (sample, predicted, expected)
            assert [tag.name for tag in tags(got, sample.problematic)] == expected.tags


@settings(max_examples=15, deadline=None)
@given(worlds(max_samples=4))
def test_no_class_at_all_differs_from_the_oracle(world: World) -> None:
    table = decide(world.evidence)

    for row, sample in enumerate(world.samples):
        expected = [byte(judge(sample, row, predicted, world.facts)) for predicted in range(1000)]
        assert table[row].tolist() == expected


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_a_sample_is_judged_alike_alone_and_among_others(world: World) -> None:
    whole = decide(world.evidence)

    middle = len(world.samples) // 2
    halves = [decide(world.evidence.rows(0, middle)), decide(world.evidence.rows(middle, len(world.samples)))]
    backwards = decide(world.evidence.take(np.arange(len(world.samples))[::-1]))

    assert np.array_equal(np.concatenate(halves), whole)
    assert np.array_equal(backwards[::-1], whole)


@settings(max_examples=60, deadline=None)
@given(worlds(max_samples=6))
def test_the_trace_ends_at_the_verdict_of_the_oracle(world: World) -> None:
    for row, sample in enumerate(world.samples):
        alone = world.evidence.rows(row, row + 1)
        for predicted in ASKED:
            expected = judge(sample, row, predicted, world.facts)
            steps = trace(alone, predicted)
            outcomes = [step.outcome for step in steps]
            hit = outcomes.index(Outcome.HIT)

            assert steps[hit].error_type == expected.error_type
            assert set(outcomes[:hit]) <= {Outcome.MISS, Outcome.ABSTAINED}
            assert set(outcomes[hit + 1 :]) <= {Outcome.NOT_REACHED}
            assert bool(steps[hit].note) == bool(byte(expected) & STOPPED_AT_TARGET)
            _check_who_abstained(steps[:hit], world.facts)


def _check_who_abstained(steps: tuple, facts: Facts) -> None:
    """A rule abstains where its evidence is missing, and only there; "similar to the target" needs none."""
    missing = set()
    if facts.oov is None:
        missing.add(ErrorType.FINE_GRAINED_OOV)
    if facts.cooccurrence is None:
        missing.add(ErrorType.SPURIOUS_CORRELATION)
    if not facts.has_prototype_list:
        missing.add(ErrorType.NON_PROTOTYPICAL)
    for step in steps:
        needs_nothing = step.error_type is ErrorType.FINE_GRAINED_OOV and step.note
        abstains = step.error_type in missing and not needs_nothing
        assert step.outcome is (Outcome.ABSTAINED if abstains else Outcome.MISS)


def test_the_trace_of_an_ordinary_sample_takes_the_rules_in_their_order() -> None:
    evidence = evidence_of([7], [{7}], pairs=set(), non_prototypical=[False], oov=[set()])

    steps = trace(evidence, 8)

    assert [step.error_type for step in steps] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [step.outcome for step in steps] == [Outcome.MISS] * 7 + [Outcome.HIT]


def test_the_trace_of_a_problematic_sample_asks_about_the_target_after_fine_grained() -> None:
    evidence = evidence_of([7], [{1}], problematic=[True], pairs={(7, 8)}, oov=[{8}])

    steps = trace(evidence, 8)

    assert [step.error_type for step in steps] == [1, 2, 3, 4, 5, 6, 5, 6, 7, 8]
    assert [step.outcome for step in steps] == [Outcome.MISS] * 5 + [Outcome.HIT] + [Outcome.NOT_REACHED] * 4
    assert [bool(step.note) for step in steps] == [False] * 4 + [True] * 2 + [False] * 4


# The spec's paragraph on problematic samples, one clause a line. Superclass {1, 2}, pair (1, 20), overlap 504 -> 968.
@pytest.mark.parametrize(
    ("target", "labels", "predicted", "clip", "expected_type", "expected_tags"),
    [
        (1, {1}, 1, set(), 1, ["UNTAGGED"]),  # p = t ∈ M: correct, no tag
        (1, set(), 1, set(), 5, ["EMPTY_CORRECT", "OOV_SIMILAR_TO_TARGET"]),  # and then t ∉ M, p = t: stop
        (504, set(), 968, set(), 8, ["EMPTY_CORRECT_BY_OVERLAP"]),  # rule 2 itself only where M is not empty
        (504, set(), 968, {968}, 5, ["EMPTY_CORRECT_BY_OVERLAP"]),
        (1, set(), 2, set(), 5, ["EMPTY_WRONG", "OOV_SIMILAR_TO_TARGET"]),
        (1, set(), 20, {20}, 6, ["EMPTY_WRONG", "CO_OCCURRENCE_WITH_TARGET"]),  # before rule 5
        (1, set(), 50, set(), 8, ["EMPTY_WRONG"]),
        (1, {50}, 1, set(), 5, ["CORRECT_BUT_WRONG_LABEL", "OOV_SIMILAR_TO_TARGET"]),
        (1, {2}, 1, set(), 4, ["CORRECT_BUT_WRONG_LABEL"]),  # rule 4 comes before the target
        (504, {50}, 968, set(), 2, ["UNTAGGED"]),
        (7, {50}, 50, set(), 3, ["UNTAGGED"]),
        (1, {50}, 2, set(), 5, ["OOV_SIMILAR_TO_TARGET"]),
        (1, {50}, 20, {20}, 6, ["CO_OCCURRENCE_WITH_TARGET"]),
        (50, {1}, 20, set(), 6, ["UNTAGGED"]),  # seen with a label, not with the target
        (1, {1}, 20, {20}, 5, ["UNTAGGED"]),  # t ∈ M: nothing about the target
        (7, {50}, 60, {60}, 5, ["UNTAGGED"]),
        (7, {50}, 60, set(), 8, ["UNTAGGED"]),
    ],
)
def test_a_problematic_sample_is_judged_as_the_spec_says(
    target: int, labels: set[int], predicted: int, clip: set[int], expected_type: int, expected_tags: list[str]
) -> None:
    evidence = evidence_of([target], [labels], problematic=[True], superclasses=[{1, 2}], pairs={(1, 20)}, oov=[clip])

    verdict = int(decide(evidence)[0, predicted])

    assert error_types(np.uint8(verdict)) == expected_type
    assert [tag.name for tag in tags(verdict, True)] == expected_tags

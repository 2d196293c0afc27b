"""The verdict table, compared with the oracle."""

import numpy as np
import pytest
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st
from oracle.verdicts import byte, judge
from unit.rules.scenarios import UNUSED_CLASSES, USED_CLASSES, Scenario, evidence_of, scenarios

from service.domain import NO_CLASS, Bytes, Evidence, class_relations
from service.rules.decide import decide, decide_each
from service.rules.table import error_types, tags

PREDICTIONS = (*USED_CLASSES, *UNUSED_CLASSES)


@max_examples(200)
@given(scenarios(max_samples=40))
def test_verdicts_equal_those_of_the_oracle(scenario: Scenario) -> None:
    table = decide(scenario.evidence)

    assert table.shape == (len(scenario.samples), 1000)
    assert table.dtype == np.uint8
    for row, sample in enumerate(scenario.samples):
        for predicted in PREDICTIONS:
            expected = judge(sample, row, predicted, scenario.facts)
            verdict = int(table[row, predicted])
            assert verdict == byte(expected), (sample, predicted, expected)
            assert [tag.name for tag in tags(verdict, sample.problematic)] == expected.tags


@max_examples(15)
@given(scenarios(max_samples=4))
def test_verdicts_of_all_classes_equal_those_of_the_oracle(scenario: Scenario) -> None:
    table = decide(scenario.evidence)

    for row, sample in enumerate(scenario.samples):
        expected = [byte(judge(sample, row, predicted, scenario.facts)) for predicted in range(1000)]
        assert table[row].tolist() == expected


def verdicts_on_demand(evidence: Evidence) -> Bytes:
    """Return the verdict of every prediction, each computed alone, without matrices of classes."""
    samples = np.repeat(np.arange(len(evidence)), 1000)
    predicted = np.tile(np.arange(1000, dtype=np.int16), len(evidence))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(class_relations, "DENSE_CLASSES", 0)
        return decide_each(evidence.take(samples), predicted).reshape(-1, 1000)


@max_examples(60)
@given(scenarios(max_samples=12))
def test_verdicts_on_demand_equal_the_table(scenario: Scenario) -> None:
    assert np.array_equal(verdicts_on_demand(scenario.evidence), decide(scenario.evidence))


@max_examples(40)
@given(scenarios(), st.data())
def test_sample_without_a_prediction_has_no_verdict(scenario: Scenario, data: st.DataObject) -> None:
    table, size = decide(scenario.evidence), len(scenario.samples)
    top1 = data.draw(st.lists(st.sampled_from((-1, *PREDICTIONS)), min_size=size, max_size=size))

    verdicts = decide_each(scenario.evidence, np.array(top1, dtype=np.int16))

    assert verdicts.dtype == np.uint8
    assert verdicts.tolist() == [0 if class_ < 0 else int(table[row, class_]) for row, class_ in enumerate(top1)]


@max_examples(60)
@given(scenarios())
def test_verdict_of_a_sample_does_not_depend_on_other_samples(scenario: Scenario) -> None:
    whole = decide(scenario.evidence)

    middle = len(scenario.samples) // 2
    halves = [decide(scenario.evidence.rows(0, middle)), decide(scenario.evidence.rows(middle, len(scenario.samples)))]
    backwards = decide(scenario.evidence.take(np.arange(len(scenario.samples))[::-1]))

    assert np.array_equal(np.concatenate(halves), whole)
    assert np.array_equal(backwards[::-1], whole)


# The specification's paragraph on problematic samples. Superclass {1, 2}, pair (1, 20), overlap 504 → 968.
@pytest.mark.parametrize(
    ("target", "labels", "predicted", "clip", "expected_type", "expected_tags"),
    [
        (1, {1}, 1, set(), 1, ["UNTAGGED"]),  # p = t ∈ M: correct, no tag
        (1, set(), 1, set(), 5, ["EMPTY_CORRECT", "OOV_SIMILAR_TO_TARGET"]),  # t ∉ M, p = t: stop
        (504, set(), 968, set(), 8, ["EMPTY_CORRECT_BY_OVERLAP"]),  # rule 2 needs a nonempty M
        (504, set(), 968, {968}, 5, ["EMPTY_CORRECT_BY_OVERLAP"]),
        (1, set(), 2, set(), 5, ["EMPTY_WRONG", "OOV_SIMILAR_TO_TARGET"]),
        (1, set(), 20, {20}, 6, ["EMPTY_WRONG", "CO_OCCURRENCE_WITH_TARGET"]),  # precedes rule 5
        (1, set(), 50, set(), 8, ["EMPTY_WRONG"]),
        (1, {50}, 1, set(), 5, ["CORRECT_BUT_WRONG_LABEL", "OOV_SIMILAR_TO_TARGET"]),
        (1, {2}, 1, set(), 4, ["CORRECT_BUT_WRONG_LABEL"]),  # rule 4 precedes the target steps
        (504, {50}, 968, set(), 2, ["UNTAGGED"]),
        (7, {50}, 50, set(), 3, ["UNTAGGED"]),
        (1, {50}, 2, set(), 5, ["OOV_SIMILAR_TO_TARGET"]),
        (1, {50}, 20, {20}, 6, ["CO_OCCURRENCE_WITH_TARGET"]),
        (50, {1}, 20, set(), 6, ["UNTAGGED"]),  # co-occurs with a label, not with the target
        (1, {1}, 20, {20}, 5, ["UNTAGGED"]),  # t ∈ M: no target steps
        (7, {50}, 60, {60}, 5, ["UNTAGGED"]),
        (7, {50}, 60, set(), 8, ["UNTAGGED"]),
    ],
)
def test_verdict_of_a_problematic_sample_follows_the_specification(
    target: int, labels: set[int], predicted: int, clip: set[int], expected_type: int, expected_tags: list[str]
) -> None:
    evidence = evidence_of([target], [labels], problematic=[True], superclasses=[{1, 2}], pairs={(1, 20)}, oov=[clip])

    verdict = int(decide(evidence)[0, predicted])

    assert error_types(np.uint8(verdict)) == expected_type
    assert [tag.name for tag in tags(verdict, True)] == expected_tags


@max_examples(100)
@given(scenarios(max_samples=20))
def test_an_answer_without_a_class_has_the_verdict_of_a_class_without_relations(scenario: Scenario) -> None:
    evidence = scenario.evidence
    verdicts = decide_each(evidence, np.full(len(evidence), NO_CLASS, dtype=np.int16))

    for row, sample in enumerate(scenario.samples):
        expected = judge(sample, row, NO_CLASS, scenario.facts)
        assert int(verdicts[row]) == byte(expected)

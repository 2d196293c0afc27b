"""The outcome of each rule, compared with the oracle and with the rules, for one verdict and for many."""

import numpy as np
from example_counts import max_examples
from hypothesis import given
from oracle.verdicts import Facts, byte, judge
from unit.rules.scenarios import UNUSED_CLASSES, USED_CLASSES, Scenario, evidence_of, scenarios

from service.domain import NO_CLASS, ErrorType, Evidence, Outcome, Step
from service.rules import ORDER, find_abstained_types
from service.rules.decide import decide_each
from service.rules.outcomes import outcomes, trace
from service.rules.table import STOPPED_AT_TARGET

PREDICTIONS = (NO_CLASS, *USED_CLASSES, *UNUSED_CLASSES)


def verdicts_of(evidence: Evidence, predicted: int) -> list[int]:
    return decide_each(evidence, np.full(len(evidence), predicted, dtype=np.int16)).tolist()


def trace_first(evidence: Evidence, predicted: int) -> tuple[Step, ...]:
    """Return the steps of the first sample."""
    verdict = verdicts_of(evidence, predicted)[0]
    return trace(verdict, bool(evidence.problematic[0]), find_abstained_types(evidence))


@max_examples(60)
@given(scenarios(max_samples=6))
def test_trace_ends_at_the_verdict_of_the_oracle(scenario: Scenario) -> None:
    for row, sample in enumerate(scenario.samples):
        evidence = scenario.evidence.rows(row, row + 1)
        for predicted in PREDICTIONS:
            expected = judge(sample, row, predicted, scenario.facts)
            steps = trace_first(evidence, predicted)
            results = [step.outcome for step in steps]
            hit = results.index(Outcome.HIT)

            assert steps[hit].error_type.id == expected.error_type
            assert set(results[:hit]) <= {Outcome.MISS, Outcome.ABSTAINED}
            assert set(results[hit + 1 :]) <= {Outcome.NOT_REACHED}
            assert bool(steps[hit].note) == bool(byte(expected) & STOPPED_AT_TARGET)
            _check_abstentions(steps[:hit], scenario.facts)


def _check_abstentions(steps: tuple[Step, ...], facts: Facts) -> None:
    """Check that exactly the rules without evidence abstain. "similar to the target" needs no evidence."""
    missing = set()
    if facts.oov is None:
        missing.add(ErrorType.FINE_GRAINED_OOV)
    if facts.cooccurrence is None:
        missing.add(ErrorType.SPURIOUS_CORRELATION)
    if not facts.has_prototype_list:
        missing.add(ErrorType.NON_PROTOTYPICAL)
    for step in steps:
        needs_no_evidence = step.error_type is ErrorType.FINE_GRAINED_OOV and step.note
        abstains = step.error_type in missing and not needs_no_evidence
        assert step.outcome is (Outcome.ABSTAINED if abstains else Outcome.MISS)


@max_examples(60)
@given(scenarios(max_samples=6))
def test_a_rule_of_an_ordinary_sample_holds_at_its_hit_and_not_before(scenario: Scenario) -> None:
    for row in np.flatnonzero(~scenario.evidence.problematic).tolist():
        evidence = scenario.evidence.rows(row, row + 1)
        for predicted in PREDICTIONS:
            candidates = np.array([[predicted]], dtype=np.int16)
            for rule, step in zip(ORDER, trace_first(evidence, predicted), strict=True):
                assert rule.error_type is step.error_type
                if step.outcome is not Outcome.NOT_REACHED:
                    assert rule.holds(evidence, candidates).item() == (step.outcome is Outcome.HIT)


def test_trace_of_an_ordinary_sample_has_the_rules_in_order() -> None:
    evidence = evidence_of([7], [{7}], pairs=set(), non_prototypical=[False], oov=[set()])

    steps = trace_first(evidence, 8)

    assert [step.error_type.id for step in steps] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [step.outcome for step in steps] == [Outcome.MISS] * 7 + [Outcome.HIT]


def test_trace_of_a_problematic_sample_has_two_target_steps_after_fine_grained() -> None:
    evidence = evidence_of([7], [{1}], problematic=[True], pairs={(7, 8)}, oov=[{8}])

    steps = trace_first(evidence, 8)

    assert [step.error_type.id for step in steps] == [1, 2, 3, 4, 5, 6, 5, 6, 7, 8]
    assert [step.outcome for step in steps] == [Outcome.MISS] * 5 + [Outcome.HIT] + [Outcome.NOT_REACHED] * 4
    assert [step.note for step in steps if step.note] == ["similar to the target", "co-occurs with the target"]
    assert [bool(step.note) for step in steps] == [False] * 4 + [True] * 2 + [False] * 4


@max_examples(60)
@given(scenarios(max_samples=10))
def test_outcomes_equal_the_trace_of_each_verdict(scenario: Scenario) -> None:
    evidence, problematic = scenario.evidence, scenario.evidence.problematic
    abstained = find_abstained_types(evidence)
    for predicted in PREDICTIONS:
        verdicts = verdicts_of(evidence, predicted)
        columns = outcomes(np.array(verdicts, dtype=np.uint8), problematic, evidence)
        for row, verdict in enumerate(verdicts):
            steps = trace(verdict, bool(problematic[row]), abstained)
            values = [Outcome(column[row]) for column in columns.values()]
            assert [value for value in values if value] == [step.outcome for step in steps]
            assert len([value for value in values if not value]) == (0 if problematic[row] else 2)

"""The outcomes of many verdicts at once, against the trace of each."""

from example_counts import max_examples
from hypothesis import given
from unit.rules.scenarios import UNUSED_CLASSES, USED_CLASSES, Scenario, scenarios

from service.domain import Outcome
from service.rules.decide import decide, trace
from service.rules.outcomes import outcomes


@max_examples(60)
@given(scenarios(max_samples=10))
def test_outcomes_equal_the_trace_of_each_verdict(scenario: Scenario) -> None:
    evidence, table = scenario.evidence, decide(scenario.evidence)
    for predicted in (*USED_CLASSES, *UNUSED_CLASSES):
        columns = outcomes(table[:, predicted], evidence.problematic, evidence)
        for row in range(len(evidence)):
            steps = trace(evidence.rows(row, row + 1), predicted)
            values = [Outcome(column[row]) for column in columns.values()]
            assert [value for value in values if value] == [step.outcome for step in steps]

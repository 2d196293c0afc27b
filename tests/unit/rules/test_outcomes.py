"""The outcomes of many verdicts at once, against the trace of each."""

from hypothesis import given, settings
from unit.rules.worlds import ALSO_ASKED, INTERESTING, World, worlds

from service.domain import Outcome
from service.rules.decide import decide, trace
from service.rules.outcomes import outcomes


@settings(max_examples=60, deadline=None)
@given(worlds(max_samples=10))
def test_outcomes_are_those_of_the_trace_of_each_verdict(world: World) -> None:
    evidence, table = world.evidence, decide(world.evidence)
    for predicted in (*INTERESTING, *ALSO_ASKED):
        columns = outcomes(table[:, predicted], evidence.problematic, evidence)
        for row in range(len(evidence)):
            steps = trace(evidence.rows(row, row + 1), predicted)
            values = [Outcome(column[row]) for column in columns.values()]
            assert [value for value in values if value] == [step.outcome for step in steps]

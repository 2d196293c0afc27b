"""The outcome of each rule, which follows from the verdict: the rules before the first that holds did not hold."""

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from service.domain import Bytes, ErrorType, Evidence, Mask, Outcome, Step
from service.rules import ORDER, find_abstained_types
from service.rules.table import STOPPED_AT_TARGET, error_type

AT_TARGET = {  # rules that only problematic samples have, after FINE_GRAINED, with the notes of their steps
    (ErrorType.FINE_GRAINED_OOV, "similar to the target"): "oov_similar_to_target",
    (ErrorType.SPURIOUS_CORRELATION, "co-occurs with the target"): "co_occurrence_with_target",
}
_STEPS = [(rule.error_type, "") for rule in ORDER]
_AFTER = _STEPS.index((ErrorType.FINE_GRAINED, "")) + 1
_PROBLEMATIC_STEPS = [*_STEPS[:_AFTER], *AT_TARGET, *_STEPS[_AFTER:]]


@cache
def trace(verdict: int, problematic: bool, abstained: tuple[ErrorType, ...]) -> tuple[Step, ...]:
    """Return the outcome of each rule for one verdict.

    Args:
        verdict: A byte of the verdict table with an error type.
        problematic: Whether the annotators found the sample problematic.
        abstained: The types whose rules have no evidence.

    Returns:
        One step per rule, in the order of evaluation. The comparison of superclasses with the target needs no evidence.
    """
    at_target = problematic and bool(verdict & STOPPED_AT_TARGET)
    steps: list[Step] = []
    outcome = Outcome.MISS
    for kind, note in _PROBLEMATIC_STEPS if problematic else _STEPS:
        if outcome in (Outcome.HIT, Outcome.NOT_REACHED):
            outcome = Outcome.NOT_REACHED
        elif kind is error_type(verdict) and bool(note) == at_target:
            outcome = Outcome.HIT
        else:
            needs_evidence = kind in abstained and not (note and kind is ErrorType.FINE_GRAINED_OOV)
            outcome = Outcome.ABSTAINED if needs_evidence else Outcome.MISS
        steps.append(Step(kind, outcome, note))
    return tuple(steps)


def outcomes(verdicts: Bytes, problematic: Mask, evidence: Evidence) -> Mapping[str, NDArray[np.uint8]]:
    """Return the outcome of each rule, in the order of evaluation.

    Args:
        verdicts: (K,) bytes of the verdict table, each with an error type.
        problematic: (K,) whether the annotators found the sample problematic.
        evidence: The evidence of the rules. This function only checks which of its parts are None.

    Returns:
        (K,) values of `Outcome` by the name of the rule: an error type, or a name in AT_TARGET. A rule in
        AT_TARGET is UNSPECIFIED for samples that are not problematic.
    """
    abstained = find_abstained_types(evidence)
    codes = verdicts + np.where(problematic, np.int16(256), np.int16(0))
    of_code = np.zeros((len(_PROBLEMATIC_STEPS), 512), dtype=np.uint8)
    for code in np.flatnonzero(np.bincount(codes)).tolist():
        for step in trace(code % 256, code >= 256, abstained):
            of_code[_PROBLEMATIC_STEPS.index((step.error_type, step.note)), code] = step.outcome
    names = [AT_TARGET.get(step, step[0].key) for step in _PROBLEMATIC_STEPS]
    return {name: of_code[position, codes] for position, name in enumerate(names)}

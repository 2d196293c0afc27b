"""The outcome of every rule for many verdicts; `decide.trace` returns it for one verdict."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from service.domain import NUM_IDS, Bytes, ErrorType, Evidence, Mask, Outcome
from service.rules import ORDER
from service.rules.table import STOPPED_AT_TARGET, error_types

AT_TARGET = {  # rules that only problematic samples have, after FINE_GRAINED
    "oov_similar_to_target": ErrorType.FINE_GRAINED_OOV,
    "co_occurrence_with_target": ErrorType.SPURIOUS_CORRELATION,
}


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
    types = error_types(verdicts)
    at_target = problematic & (verdicts & np.uint8(STOPPED_AT_TARGET) != 0)
    abstained = {rule.error_type.key for rule in ORDER if rule.abstains(evidence)}
    if ErrorType.SPURIOUS_CORRELATION.key in abstained:
        abstained.add("co_occurrence_with_target")
    names = [rule.error_type.key for rule in ORDER]
    after = names.index(ErrorType.FINE_GRAINED.key) + 1
    names[after:after] = AT_TARGET
    positions = np.zeros(NUM_IDS, dtype=np.uint8)  # by ID of the type
    for rule in ORDER:
        positions[rule.error_type.id] = names.index(rule.error_type.key)
    deciding = positions[types]
    for name, error_type in AT_TARGET.items():
        deciding[at_target & (types == error_type.id)] = names.index(name)
    result: dict[str, NDArray[np.uint8]] = {}
    for position, name in enumerate(names):
        outcome = np.full(len(verdicts), Outcome.ABSTAINED if name in abstained else Outcome.MISS, dtype=np.uint8)
        outcome[deciding == position] = Outcome.HIT
        outcome[deciding < position] = Outcome.NOT_REACHED
        if name in AT_TARGET:
            outcome[~problematic] = Outcome.UNSPECIFIED
        result[name] = outcome
    return result

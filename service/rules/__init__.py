"""The eight rules in their order. The first rule that holds decides (Peychev et al. 2023, section 3)."""

from service.domain import ErrorType, Evidence
from service.rules import (
    class_overlap,
    correct,
    fine_grained,
    fine_grained_oov,
    model_failure,
    multi_label,
    non_prototypical,
    spurious_correlation,
)
from service.rules.rule import Rule

__all__ = ["ORDER", "RULES_VERSION", "Rule", "abstained"]

RULES_VERSION = 1  # part of the digest of each bundle; increment it if any verdict can change

ORDER = (
    Rule(ErrorType.CORRECT, correct.hits),
    Rule(ErrorType.CLASS_OVERLAP, class_overlap.hits),
    Rule(ErrorType.MULTI_LABEL, multi_label.hits),
    Rule(ErrorType.FINE_GRAINED, fine_grained.hits),
    Rule(ErrorType.FINE_GRAINED_OOV, fine_grained_oov.hits, needs="oov"),
    Rule(ErrorType.SPURIOUS_CORRELATION, spurious_correlation.hits, needs="cooccurrence"),
    Rule(ErrorType.NON_PROTOTYPICAL, non_prototypical.hits, needs="non_prototypical"),
    Rule(ErrorType.MODEL_FAILURE, model_failure.hits),
)


def find_abstained_types(evidence: Evidence) -> tuple[ErrorType, ...]:
    """Return the error types whose rules abstain, in order."""
    return tuple(rule.error_type for rule in ORDER if rule.abstains(evidence))

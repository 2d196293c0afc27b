"""Measures of a gate policy: the error types that each measure counts, and the value of the measure."""

from collections.abc import Iterable, Mapping

from service.domain import (
    CORRECT_TYPES,
    ERROR_TYPES,
    MULTI_LABEL_ERROR_TYPES,
    SEVERE_TYPES,
    TOP1_CORRECT_TYPES,
    TOP1_ERROR_TYPES,
    Bound,
    ErrorType,
    Exactness,
    Measure,
    Summary,
)
from service.summary.summarize import EXPLAINABLE_TYPES, MINOR_TYPES

OF_TYPES = (Measure.COUNT, Measure.RATE, Measure.PORTION_OF_TOP1_ERRORS, Measure.PORTION_OF_MULTI_LABEL_ERRORS)
# Counts of error types do not determine these measures if labels reject targets.
TOP1_MEASURES = (Measure.TOP1_ACCURACY, Measure.TOP1_ERROR_RATE)
FROM_SUMMARY = (  # measures that need more than the counts of error types
    *TOP1_MEASURES,
    Measure.ACCURACY_AGAINST_LABELS,
    Measure.MULTI_LABEL_ACCURACY,
    Measure.MULTI_LABEL_ACCURACY_FORGIVING_MINOR,
    Measure.MULTI_LABEL_ACCURACY_FORGIVING_EXPLAINABLE,
    Measure.IMAGENET_M_ERRORS,
)
_COUNTED: Mapping[Measure, tuple[ErrorType, ...]] = {  # types that a measure without `types` counts
    Measure.TOP1_ACCURACY: TOP1_CORRECT_TYPES,
    Measure.ACCURACY_AGAINST_LABELS: CORRECT_TYPES,
    Measure.MULTI_LABEL_ACCURACY: CORRECT_TYPES,
    Measure.MULTI_LABEL_ACCURACY_FORGIVING_MINOR: (*CORRECT_TYPES, *MINOR_TYPES),
    Measure.MULTI_LABEL_ACCURACY_FORGIVING_EXPLAINABLE: (*CORRECT_TYPES, *MINOR_TYPES, *EXPLAINABLE_TYPES),
    Measure.TOP1_ERROR_RATE: TOP1_ERROR_TYPES,
    Measure.MULTI_LABEL_ERROR_RATE: MULTI_LABEL_ERROR_TYPES,
    Measure.SEVERE_ERROR_RATE: SEVERE_TYPES,
    Measure.IMAGENET_M_ERRORS: MULTI_LABEL_ERROR_TYPES,
}
_WHOLES: Mapping[Measure, tuple[ErrorType, ...]] = {  # types of the denominator of a measure; default: all types
    Measure.PORTION_OF_TOP1_ERRORS: TOP1_ERROR_TYPES,
    Measure.PORTION_OF_MULTI_LABEL_ERRORS: MULTI_LABEL_ERROR_TYPES,
}


def counted_types(bound: Bound) -> tuple[ErrorType, ...]:
    """Return the error types of the samples that a measure counts."""
    return bound.types or _COUNTED[bound.measure]


def value_of(bound: Bound, summary: Summary) -> float | None:
    """Return the value that a bound limits; None if the summary does not have the value."""
    group = summary.groups.get(bound.group)
    if group is None:  # the baseline was judged with other evidence, which has other groups
        return None
    match bound.measure:
        case Measure.TOP1_ACCURACY:
            return group.top1_accuracy
        case Measure.TOP1_ERROR_RATE:
            return group.top1_errors / group.num_samples if group.num_samples else None
        case Measure.ACCURACY_AGAINST_LABELS:
            return group.accuracy_against_labels
        case Measure.MULTI_LABEL_ACCURACY:
            return group.multi_label_accuracy
        case Measure.MULTI_LABEL_ACCURACY_FORGIVING_MINOR:
            return group.multi_label_accuracy_forgiving_minor
        case Measure.MULTI_LABEL_ACCURACY_FORGIVING_EXPLAINABLE:
            return group.multi_label_accuracy_forgiving_explainable
        case Measure.IMAGENET_M_ERRORS:
            return None if summary.imagenet_m_errors is None else float(summary.imagenet_m_errors)
        case _:
            return value_of_counts(bound, group.counts)


def value_of_counts(bound: Bound, counts: Mapping[ErrorType, int]) -> float | None:
    """Return the value of a measure that depends on the type counts only; None if the denominator is 0."""
    assert bound.measure not in FROM_SUMMARY, f"This is a bug: {bound.measure} does not depend on counts only."
    whole = _WHOLES.get(bound.measure, ERROR_TYPES)
    part = sum(counts[error_type] for error_type in counted_types(bound) if error_type in whole)
    if bound.measure is Measure.COUNT:
        return float(part)
    total = sum(counts[error_type] for error_type in whole)
    return part / total if total else None


def inexactness(bound: Bound, abstained: tuple[ErrorType, ...]) -> tuple[Exactness, tuple[ErrorType, ...]]:
    """Return whether the value of a measure may be too high or too low, and the abstained rules that cause this.

    If a rule abstains, the samples of its type have a later type instead. A sum that contains the later type, but not
    the abstained one, may be too high. A sum that contains the abstained type, but not a later one, may be too low.
    """
    exactness, causes = _inexact_sum(counted_types(bound), abstained)
    whole, causes_of_whole = _inexact_sum(_WHOLES.get(bound.measure, ERROR_TYPES), abstained)
    if whole is not Exactness.EXACT:  # a ratio of two inexact sums has no direction
        return Exactness.INEXACT, tuple(dict.fromkeys([*causes, *causes_of_whole]))
    return exactness, causes


def _inexact_sum(
    types: tuple[ErrorType, ...], abstained: tuple[ErrorType, ...]
) -> tuple[Exactness, tuple[ErrorType, ...]]:
    evaluated = [error_type for error_type in ERROR_TYPES if error_type not in abstained]
    inside = [error_type for error_type in evaluated if error_type in types]
    outside = [error_type for error_type in evaluated if error_type not in types]
    too_high = [rule for rule in abstained if rule not in types and _has_later(inside, rule)]
    too_low = [rule for rule in abstained if rule in types and _has_later(outside, rule)]
    exactness = {
        (False, False): Exactness.EXACT,
        (True, False): Exactness.UPPER_BOUND,
        (False, True): Exactness.LOWER_BOUND,
        (True, True): Exactness.INEXACT,
    }[bool(too_high), bool(too_low)]
    return exactness, (*too_high, *too_low)


def _has_later(types: Iterable[ErrorType], rule: ErrorType) -> bool:
    return any(error_type.position > rule.position for error_type in types)

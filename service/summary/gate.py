"""Gate: evaluate the bounds of a policy for an analysis (spec/statistics: "gate UNDECIDED")."""

from collections.abc import Mapping
from dataclasses import dataclass

from service.domain import (
    ERROR_TYPES,
    MULTI_LABEL_ERROR_TYPES,
    SEVERE_TYPES,
    TOP1_ERROR_TYPES,
    Bound,
    ErrorType,
    GateDecision,
    GatePolicy,
    GateReason,
    Group,
    GroupComparison,
    Interval,
    Measure,
    PairedMetric,
    Summary,
    UndecidedReason,
)
from service.summary.compare import type_p_value
from service.summary.summarize import EXPLAINABLE_TYPES, MINOR_TYPES

PAIRED_METRICS: Mapping[Measure, PairedMetric] = {  # property of an image that McNemar's test of a measure compares
    Measure.TOP1_ACCURACY: PairedMetric.TOP1,
    Measure.TOP1_ERROR_RATE: PairedMetric.TOP1,
    Measure.MULTI_LABEL_ACCURACY: PairedMetric.MULTI_LABEL,
    Measure.MULTI_LABEL_ERROR_RATE: PairedMetric.MULTI_LABEL,
    Measure.SEVERE_ERROR_RATE: PairedMetric.SEVERE,
}
_ROUNDING = 1e-12  # a value that equals its limit passes in spite of rounding
OF_TYPES = (Measure.COUNT, Measure.RATE, Measure.PORTION_OF_TOP1_ERRORS, Measure.PORTION_OF_MULTI_LABEL_ERRORS)
_FROM_SUMMARY = (
    Measure.ACCURACY_AGAINST_LABELS,
    Measure.MULTI_LABEL_ACCURACY_FORGIVING_MINOR,
    Measure.MULTI_LABEL_ACCURACY_FORGIVING_EXPLAINABLE,
    Measure.IMAGENET_M_ERRORS,
)
TESTED = (*PAIRED_METRICS, Measure.COUNT, Measure.RATE)
_IMPLIED: Mapping[Measure, tuple[ErrorType, ...]] = {  # types that a measure depends on by its definition
    Measure.SEVERE_ERROR_RATE: SEVERE_TYPES,
    Measure.MULTI_LABEL_ACCURACY_FORGIVING_MINOR: MINOR_TYPES,
    Measure.MULTI_LABEL_ACCURACY_FORGIVING_EXPLAINABLE: (*MINOR_TYPES, *EXPLAINABLE_TYPES),
}


@dataclass(frozen=True)
class Baseline:
    """Baseline that changes are compared with."""

    summary: Summary
    comparison: Mapping[Group, GroupComparison] | None  # A: baseline, B: analysis; None: different evidence


def evaluate(policy: GatePolicy, summary: Summary, baseline: Baseline | None) -> list[GateReason]:
    """Return the decision on each bound, starting with the bound on coverage."""
    reasons = []
    if policy.min_coverage is not None:
        reasons.append(_coverage(policy.min_coverage, coverage_of(summary)))
    return [*reasons, *(_bound(policy, bound, summary, baseline) for bound in policy.bounds)]


def decision_of(reasons: list[GateReason]) -> GateDecision:
    """Return the decision of the gate: FAIL if any bound fails, else UNDECIDED if any is undecided, else PASS."""
    decisions = {reason.decision for reason in reasons}
    for decision in (GateDecision.FAIL, GateDecision.UNDECIDED):
        if decision in decisions:
            return decision
    return GateDecision.PASS


def value_of(bound: Bound, summary: Summary) -> float | None:
    """Return the value that a bound limits; None if it does not exist."""
    group = summary.groups[bound.group]
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
            return _count_measure(bound, group.counts)


def _count_measure(bound: Bound, counts: Mapping[ErrorType, int]) -> float | None:
    """Return the value of a measure that depends on the type counts only."""
    match bound.measure:
        case Measure.MULTI_LABEL_ERROR_RATE:
            return _share(counts, MULTI_LABEL_ERROR_TYPES, ERROR_TYPES)
        case Measure.SEVERE_ERROR_RATE:
            return _share(counts, SEVERE_TYPES, ERROR_TYPES)
        case Measure.COUNT:
            return float(sum(counts[error_type] for error_type in bound.types))
        case Measure.RATE:
            return _share(counts, bound.types, ERROR_TYPES)
        case Measure.PORTION_OF_TOP1_ERRORS:
            return _share(counts, bound.types, TOP1_ERROR_TYPES)
        case Measure.PORTION_OF_MULTI_LABEL_ERRORS:
            return _share(counts, bound.types, MULTI_LABEL_ERROR_TYPES)
        case _:
            raise AssertionError(f"This is a bug: {bound.measure} does not depend on counts only.")


def _paired_values(bound: Bound, summary: Summary, baseline: Baseline) -> tuple[float | None, float | None]:
    """Return the values of the analysis and the baseline, over common samples if there is a comparison."""
    compared = None if baseline.comparison is None else baseline.comparison[bound.group]
    if compared is not None and bound.measure is Measure.MULTI_LABEL_ACCURACY:
        interval = compared.multi_label_accuracy
        if interval is not None:
            return interval.b, interval.a
        if not compared.num_samples:
            return None, None
    elif compared is not None and bound.measure in (Measure.TOP1_ACCURACY, Measure.TOP1_ERROR_RATE):
        correct, samples = int(bound.measure is Measure.TOP1_ACCURACY), compared.num_samples
        if not samples:
            return None, None
        return float(compared.top1[:, correct].sum() / samples), float(compared.top1[correct].sum() / samples)
    elif compared is not None and bound.measure not in _FROM_SUMMARY:
        counts_a, counts_b = compared.transitions.sum(axis=1).tolist(), compared.transitions.sum(axis=0).tolist()
        sides = [dict(zip(ERROR_TYPES, counts, strict=True)) for counts in (counts_a, counts_b)]
        return _count_measure(bound, sides[1]), _count_measure(bound, sides[0])
    return value_of(bound, summary), value_of(bound, baseline.summary)


def coverage_of(summary: Summary) -> float | None:
    """Return the share of the evaluated images that have a prediction; None if it is unknown."""
    if not summary.num_judged:
        return None
    return (summary.groups[Group.ALL].num_samples + summary.num_problematic) / summary.num_judged


def _share(
    counts: Mapping[ErrorType, int], types: tuple[ErrorType, ...], all_types: tuple[ErrorType, ...]
) -> float | None:
    total = sum(counts[error_type] for error_type in all_types)
    return sum(counts[error_type] for error_type in types if error_type in all_types) / total if total else None


def _coverage(limit: float, coverage: float | None) -> GateReason:
    if coverage is None:
        return GateReason(GateDecision.UNDECIDED, None, None, limit, causes=(UndecidedReason.NO_VALUE,))
    decision = GateDecision.PASS if coverage >= limit - _ROUNDING else GateDecision.FAIL
    return GateReason(decision, None, coverage, limit)


def _bound(policy: GatePolicy, bound: Bound, summary: Summary, baseline: Baseline | None) -> GateReason:
    types = bound.types or _IMPLIED.get(bound.measure, ())
    abstained = any(error_type in summary.abstained for error_type in types)
    first = min((error_type.position for error_type in summary.abstained), default=None)
    # Later types include the errors that the first abstained rule would have explained.
    upper_bound = first is not None and any(error_type.position > first for error_type in types) and not abstained
    affected_by = summary.abstained if upper_bound else ()
    if bound.is_on_change:
        assert baseline is not None, "This is a bug: a policy with changes is refused without a baseline."
        return _change(policy, bound, summary, baseline, abstained, affected_by)
    samples = summary.groups[bound.group].num_samples
    value = value_of(bound, summary)
    causes = _causes(policy, samples, abstained, value)
    decision, limit = GateDecision.PASS, bound.max if bound.max is not None else bound.min
    if bound.max is not None and value is not None and value > bound.max + _ROUNDING:
        decision, limit = GateDecision.FAIL, bound.max
    if bound.min is not None and value is not None and value < bound.min - _ROUNDING:
        decision, limit = GateDecision.FAIL, bound.min
    if causes:
        decision = GateDecision.UNDECIDED
    return GateReason(decision, bound, value, limit, num_samples=samples, causes=tuple(causes), abstained=affected_by)


def _causes(policy: GatePolicy, samples: int, abstained: bool, *values: float | None) -> list[UndecidedReason]:
    """Return the reasons why a bound is undecided regardless of its value."""
    causes = [UndecidedReason.FEW_SAMPLES] if samples < policy.min_samples else []
    causes += [UndecidedReason.ABSTAINED] if abstained else []
    return [*causes, UndecidedReason.NO_VALUE] if None in values else causes


def _change(
    policy: GatePolicy,
    bound: Bound,
    summary: Summary,
    baseline: Baseline,
    abstained: bool,
    affected_by: tuple[ErrorType, ...],
) -> GateReason:
    """Return the decision on a bound on a change."""
    value, before = _paired_values(bound, summary, baseline)
    samples = summary.groups[bound.group].num_samples
    p_value = interval = None
    if baseline.comparison is not None:
        compared = baseline.comparison[bound.group]
        samples = compared.num_samples
        p_value, interval = _p_value(bound, compared), _interval(bound, compared)
    causes = _causes(policy, samples, abstained, value, before)
    if baseline.comparison is None:
        causes.append(UndecidedReason.OTHER_EVIDENCE)
    decision = GateDecision.PASS
    limit = bound.max_increase if bound.max_increase is not None else bound.max_decrease
    if value is not None and before is not None:
        for maximum, change, sign in (
            (bound.max_increase, value - before, 1),
            (bound.max_decrease, before - value, -1),
        ):
            if maximum is None:
                continue
            is_significant = bound.alpha is None or (p_value is not None and p_value < bound.alpha)
            if change > maximum + _ROUNDING and is_significant:
                decision, limit = GateDecision.FAIL, maximum
            if bound.undecided_within_interval and interval is not None and _contains(interval, sign * maximum):
                causes.append(UndecidedReason.WIDE_INTERVAL)
    if causes:
        decision = GateDecision.UNDECIDED
    unique_causes = tuple(dict.fromkeys(causes))
    return GateReason(decision, bound, value, limit, before, p_value, samples, unique_causes, affected_by)


def _contains(interval: Interval, value: float) -> bool:
    return interval.low < value < interval.high


def _p_value(bound: Bound, compared: GroupComparison) -> float | None:
    if bound.measure in PAIRED_METRICS:
        return compared.tests[PAIRED_METRICS[bound.measure]].p_value
    if bound.measure in TESTED:
        return type_p_value(bound.types, compared.transitions)
    return None


def _interval(bound: Bound, compared: GroupComparison) -> Interval | None:
    """Return the interval of the change, analysis - baseline; None if the comparison has none."""
    if bound.measure is Measure.MULTI_LABEL_ACCURACY:
        return compared.multi_label_accuracy
    if bound.measure is Measure.RATE and len(bound.types) == 1:
        return compared.types.get(bound.types[0])
    metric = PAIRED_METRICS.get(bound.measure)
    interval = compared.rates.get(metric) if metric else None
    if interval is None or bound.measure not in (Measure.TOP1_ERROR_RATE, Measure.MULTI_LABEL_ERROR_RATE):
        return interval
    return Interval(1 - interval.a, 1 - interval.b, -interval.high, -interval.low)

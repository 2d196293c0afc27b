"""Gate: an analysis' numbers, held against a policy's bounds (spec/statistics: "gate UNDECIDED")."""

from collections.abc import Mapping
from dataclasses import dataclass

from service.domain import (
    ERROR_TYPES,
    MULTI_LABEL_ERROR_TYPES,
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

PAIRED_METRICS: Mapping[Measure, PairedMetric] = {  # what McNemar's test of a measure asks of an image
    Measure.TOP1_ACCURACY: PairedMetric.TOP1,
    Measure.TOP1_ERROR_RATE: PairedMetric.TOP1,
    Measure.MULTI_LABEL_ACCURACY: PairedMetric.MULTI_LABEL,
    Measure.MULTI_LABEL_ERROR_RATE: PairedMetric.MULTI_LABEL,
    Measure.SEVERE_ERROR_RATE: PairedMetric.SEVERE,
}
_ROUNDING = 1e-12  # of fractions: what is equal by hand passes
OF_TYPES = (Measure.COUNT, Measure.RATE, Measure.PORTION_OF_TOP1_ERRORS, Measure.PORTION_OF_MULTI_LABEL_ERRORS)
_FROM_SUMMARY = (
    Measure.MULTI_LABEL_ACCURACY_FORGIVING_MINOR,
    Measure.MULTI_LABEL_ACCURACY_FORGIVING_EXPLAINABLE,
    Measure.IMAGENET_M_ERRORS,
)
TESTED = (*PAIRED_METRICS, Measure.COUNT, Measure.RATE)
_IMPLIED: Mapping[Measure, tuple[ErrorType, ...]] = {  # types that a measure bounds without naming them
    Measure.SEVERE_ERROR_RATE: (ErrorType.MODEL_FAILURE,),
    Measure.MULTI_LABEL_ACCURACY_FORGIVING_MINOR: MINOR_TYPES,
    Measure.MULTI_LABEL_ACCURACY_FORGIVING_EXPLAINABLE: (*MINOR_TYPES, *EXPLAINABLE_TYPES),
}


@dataclass(frozen=True)
class Baseline:
    """What the changes are held against; without a comparison where it was judged with other evidence."""

    summary: Summary
    comparison: Mapping[Group, GroupComparison] | None  # A: the analysis, B: the baseline


def evaluate(policy: GatePolicy, summary: Summary, baseline: Baseline | None) -> list[GateReason]:
    """Return what becomes of each bound, that on the coverage first."""
    reasons = []
    if policy.min_coverage is not None:
        reasons.append(_coverage(policy.min_coverage, coverage_of(summary)))
    return [*reasons, *(_bound(policy, bound, summary, baseline) for bound in policy.bounds)]


def decision_of(reasons: list[GateReason]) -> GateDecision:
    """Return the whole decision: one bound that fails is enough, and one that is undecided leaves it so."""
    said = {reason.decision for reason in reasons}
    return next((item for item in (GateDecision.FAIL, GateDecision.UNDECIDED) if item in said), GateDecision.PASS)


def value_of(bound: Bound, summary: Summary) -> float | None:
    """Return what a bound is on; None where there is no such value."""
    group = summary.groups[bound.group]
    match bound.measure:
        case Measure.MULTI_LABEL_ACCURACY:
            return group.multi_label_accuracy
        case Measure.MULTI_LABEL_ACCURACY_FORGIVING_MINOR:
            return group.multi_label_accuracy_forgiving_minor
        case Measure.MULTI_LABEL_ACCURACY_FORGIVING_EXPLAINABLE:
            return group.multi_label_accuracy_forgiving_explainable
        case Measure.IMAGENET_M_ERRORS:
            return None if summary.imagenet_m_errors is None else float(summary.imagenet_m_errors)
        case _:
            return _counted(bound, group.counts)


def _counted(bound: Bound, counts: Mapping[ErrorType, int]) -> float | None:
    """Return the value of a measure that follows from how many samples have which type."""
    match bound.measure:
        case Measure.TOP1_ACCURACY:
            return _share(counts, (ErrorType.CORRECT,), ERROR_TYPES)
        case Measure.TOP1_ERROR_RATE:
            return _share(counts, TOP1_ERROR_TYPES, ERROR_TYPES)
        case Measure.MULTI_LABEL_ERROR_RATE:
            return _share(counts, MULTI_LABEL_ERROR_TYPES, ERROR_TYPES)
        case Measure.SEVERE_ERROR_RATE:
            return _share(counts, (ErrorType.MODEL_FAILURE,), ERROR_TYPES)
        case Measure.COUNT:
            return float(sum(counts[type_] for type_ in bound.types))
        case Measure.RATE:
            return _share(counts, bound.types, ERROR_TYPES)
        case Measure.PORTION_OF_TOP1_ERRORS:
            return _share(counts, bound.types, TOP1_ERROR_TYPES)
        case Measure.PORTION_OF_MULTI_LABEL_ERRORS:
            return _share(counts, bound.types, MULTI_LABEL_ERROR_TYPES)
        case _:
            raise AssertionError(f"this is a bug: {bound.measure} doesn't follow from counts")


def _paired_values(bound: Bound, summary: Summary, baseline: Baseline) -> tuple[float | None, float | None]:
    """Return the value and the baseline's: over the samples that both judged, where the comparison tells."""
    compared = None if baseline.comparison is None else baseline.comparison[bound.group]
    if compared is not None and bound.measure is Measure.MULTI_LABEL_ACCURACY:
        interval = compared.multi_label_accuracy
        return (None, None) if interval is None else (interval.a, interval.b)
    if compared is not None and bound.measure not in _FROM_SUMMARY:
        counts_a, counts_b = compared.transitions.sum(axis=1).tolist(), compared.transitions.sum(axis=0).tolist()
        sides = [dict(zip(ERROR_TYPES, counts, strict=True)) for counts in (counts_a, counts_b)]
        return _counted(bound, sides[0]), _counted(bound, sides[1])
    return value_of(bound, summary), value_of(bound, baseline.summary)


def coverage_of(summary: Summary) -> float | None:
    """Return the share of the judged images that have a prediction; None where it isn't known."""
    if not summary.num_judged:
        return None
    return (summary.groups[Group.ALL].num_samples + summary.num_problematic) / summary.num_judged


def _share(
    counts: Mapping[ErrorType, int], types: tuple[ErrorType, ...], top1_restricted: tuple[ErrorType, ...]
) -> float | None:
    total = sum(counts[item] for item in top1_restricted)
    return sum(counts[type_] for type_ in types if type_ in top1_restricted) / total if total else None


def _coverage(limit: float, coverage: float | None) -> GateReason:
    if coverage is None:
        return GateReason(GateDecision.UNDECIDED, None, None, limit, causes=(UndecidedReason.NO_VALUE,))
    decision = GateDecision.PASS if coverage >= limit - _ROUNDING else GateDecision.FAIL
    return GateReason(decision, None, coverage, limit)


def _bound(policy: GatePolicy, bound: Bound, summary: Summary, baseline: Baseline | None) -> GateReason:
    types = bound.types or _IMPLIED.get(bound.measure, ())
    silent = any(type_ in summary.abstained for type_ in types)
    first = min(summary.abstained, default=None)  # what comes after it holds what it would have explained
    upper = summary.abstained if first is not None and any(type_ > first for type_ in types) and not silent else ()
    if bound.is_on_change:
        assert baseline is not None, "this is a bug: a policy with changes is refused without a baseline"
        return _change(policy, bound, summary, baseline, silent, upper)
    samples = summary.groups[bound.group].num_samples
    value = value_of(bound, summary)
    causes = _causes(policy, samples, silent, value)
    decision, limit = GateDecision.PASS, bound.max if bound.max is not None else bound.min
    if bound.max is not None and value is not None and value > bound.max + _ROUNDING:
        decision, limit = GateDecision.FAIL, bound.max
    if bound.min is not None and value is not None and value < bound.min - _ROUNDING:
        decision, limit = GateDecision.FAIL, bound.min
    if causes:
        decision = GateDecision.UNDECIDED
    return GateReason(decision, bound, value, limit, num_samples=samples, causes=tuple(causes), abstained=upper)


def _causes(policy: GatePolicy, samples: int, silent: bool, *values: float | None) -> list[UndecidedReason]:
    """Return why a bound can't be decided, whatever its value."""
    causes = [UndecidedReason.FEW_SAMPLES] if samples < policy.min_samples else []
    causes += [UndecidedReason.ABSTAINED] if silent else []
    return [*causes, UndecidedReason.NO_VALUE] if None in values else causes


def _change(
    policy: GatePolicy,
    bound: Bound,
    summary: Summary,
    baseline: Baseline,
    silent: bool,
    upper: tuple[ErrorType, ...],
) -> GateReason:
    value, before = _paired_values(bound, summary, baseline)
    samples = summary.groups[bound.group].num_samples
    p_value = interval = None
    if baseline.comparison is not None:
        compared = baseline.comparison[bound.group]
        samples = compared.num_samples
        p_value, interval = _p_value(bound, compared), _interval(bound, compared)
    causes = _causes(policy, samples, silent, value, before)
    if baseline.comparison is None:
        causes.append(UndecidedReason.OTHER_EVIDENCE)
    decision = GateDecision.PASS
    limit = bound.max_increase if bound.max_increase is not None else bound.max_decrease
    if value is not None and before is not None:
        for most, change, sign in ((bound.max_increase, value - before, 1), (bound.max_decrease, before - value, -1)):
            if most is None:
                continue
            counts = bound.alpha is None or (p_value is not None and p_value < bound.alpha)
            if change > most + _ROUNDING and counts:
                decision, limit = GateDecision.FAIL, most
            if bound.undecided_within_interval and interval is not None and _holds(interval, sign * most):
                causes.append(UndecidedReason.WIDE_INTERVAL)
    if causes:
        decision = GateDecision.UNDECIDED
    return GateReason(decision, bound, value, limit, before, p_value, samples, tuple(dict.fromkeys(causes)), upper)


def _holds(interval: Interval, at: float) -> bool:
    return interval.low < at < interval.high


def _p_value(bound: Bound, compared: GroupComparison) -> float | None:
    if bound.measure in PAIRED_METRICS:
        return compared.tests[PAIRED_METRICS[bound.measure]].p_value
    if bound.measure in TESTED:
        return type_p_value(bound.types, compared.transitions)
    return None


def _interval(bound: Bound, compared: GroupComparison) -> Interval | None:
    """Return the interval of the change, analysis - baseline, where the comparison has one."""
    if bound.measure is Measure.MULTI_LABEL_ACCURACY:
        return compared.multi_label_accuracy
    if bound.measure is Measure.RATE and len(bound.types) == 1:
        return compared.types.get(bound.types[0])
    question = PAIRED_METRICS.get(bound.measure)
    result = compared.rates.get(question) if question else None
    if result is None or bound.measure not in (Measure.TOP1_ERROR_RATE, Measure.MULTI_LABEL_ERROR_RATE):
        return result
    return Interval(1 - result.a, 1 - result.b, -result.high, -result.low)

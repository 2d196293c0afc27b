"""Gate: an analysis' numbers, held against a policy's bounds (spec/statistics: "gate UNDECIDED")."""

from collections.abc import Mapping
from dataclasses import dataclass

from service.domain import (
    ERROR_TYPES,
    MULTI_LABEL_ERROR_TYPES,
    TOP1_ERROR_TYPES,
    Bound,
    Cause,
    ErrorType,
    GateDecision,
    GatePolicy,
    GateReason,
    Group,
    GroupComparison,
    GroupSummary,
    Interval,
    Measure,
    Question,
    Summary,
)
from service.summary.compare import type_p_value

QUESTIONS: Mapping[Measure, Question] = {  # what McNemar's test of a measure asks of an image
    Measure.TOP1_ACCURACY: Question.TOP1,
    Measure.TOP1_ERROR_RATE: Question.TOP1,
    Measure.MULTI_LABEL_ACCURACY: Question.MULTI_LABEL,
    Measure.MULTI_LABEL_ERROR_RATE: Question.MULTI_LABEL,
    Measure.SEVERE_ERROR_RATE: Question.SEVERE,
}
_ROUNDING = 1e-12  # of fractions: what is equal by hand passes
OF_TYPES = (Measure.COUNT, Measure.RATE, Measure.PORTION_OF_TOP1_ERRORS, Measure.PORTION_OF_MULTI_LABEL_ERRORS)
TESTED = (*QUESTIONS, Measure.COUNT, Measure.RATE)
_IMPLIED: Mapping[Measure, tuple[ErrorType, ...]] = {  # types whose rules a measure hangs on
    Measure.SEVERE_ERROR_RATE: (ErrorType.MODEL_FAILURE,),
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
    return next((each for each in (GateDecision.FAIL, GateDecision.UNDECIDED) if each in said), GateDecision.PASS)


def value_of(bound: Bound, summary: Summary) -> float | None:
    """Return what a bound is on; None where there is no such value."""
    group = summary.groups[bound.group]
    types = bound.types
    match bound.measure:
        case Measure.TOP1_ACCURACY:
            return group.top1_accuracy
        case Measure.MULTI_LABEL_ACCURACY:
            return group.multi_label_accuracy
        case Measure.MULTI_LABEL_ACCURACY_FORGIVING_MINOR:
            return group.multi_label_accuracy_forgiving_minor
        case Measure.MULTI_LABEL_ACCURACY_FORGIVING_EXPLAINABLE:
            return group.multi_label_accuracy_forgiving_explainable
        case Measure.TOP1_ERROR_RATE:
            return _share(group, TOP1_ERROR_TYPES, ERROR_TYPES)
        case Measure.MULTI_LABEL_ERROR_RATE:
            return _share(group, MULTI_LABEL_ERROR_TYPES, ERROR_TYPES)
        case Measure.SEVERE_ERROR_RATE:
            return _share(group, (ErrorType.MODEL_FAILURE,), ERROR_TYPES)
        case Measure.IMAGENET_M_ERRORS:
            return None if summary.imagenet_m_errors is None else float(summary.imagenet_m_errors)
        case Measure.COUNT:
            return float(sum(group.counts[each] for each in types))
        case Measure.RATE:
            return _share(group, types, ERROR_TYPES)
        case Measure.PORTION_OF_TOP1_ERRORS:
            return _share(group, types, TOP1_ERROR_TYPES)
        case Measure.PORTION_OF_MULTI_LABEL_ERRORS:
            return _share(group, types, MULTI_LABEL_ERROR_TYPES)


def coverage_of(summary: Summary) -> float | None:
    """Return the share of the judged images that have a prediction; None where it isn't known."""
    if not summary.num_judged:
        return None
    return (summary.groups[Group.ALL].num_samples + summary.num_problematic) / summary.num_judged


def _share(group: GroupSummary, types: tuple[ErrorType, ...], among: tuple[ErrorType, ...]) -> float | None:
    total = sum(group.counts[each] for each in among)
    return sum(group.counts[each] for each in types if each in among) / total if total else None


def _coverage(limit: float, coverage: float | None) -> GateReason:
    if coverage is None:
        return GateReason(GateDecision.UNDECIDED, None, None, limit, causes=(Cause.NO_VALUE,))
    decision = GateDecision.PASS if coverage >= limit - _ROUNDING else GateDecision.FAIL
    return GateReason(decision, None, coverage, limit)


def _bound(policy: GatePolicy, bound: Bound, summary: Summary, baseline: Baseline | None) -> GateReason:
    samples = summary.groups[bound.group].num_samples
    value = value_of(bound, summary)
    types = bound.types or _IMPLIED.get(bound.measure, ())
    causes = []
    if samples < policy.min_samples:
        causes.append(Cause.FEW_SAMPLES)
    if any(each in summary.abstained for each in types):
        causes.append(Cause.ABSTAINED)
    if value is None:
        causes.append(Cause.NO_VALUE)
    upper = summary.abstained if ErrorType.MODEL_FAILURE in types else ()
    if bound.on_change:
        assert baseline is not None, "this is a bug: a policy with changes is refused without a baseline"
        return _change(bound, value, causes, samples, upper, baseline)
    decision, limit = GateDecision.PASS, bound.max if bound.max is not None else bound.min
    if bound.max is not None and value is not None and value > bound.max + _ROUNDING:
        decision, limit = GateDecision.FAIL, bound.max
    if bound.min is not None and value is not None and value < bound.min - _ROUNDING:
        decision, limit = GateDecision.FAIL, bound.min
    if causes:
        decision = GateDecision.UNDECIDED
    return GateReason(decision, bound, value, limit, num_samples=samples, causes=tuple(causes), abstained=upper)


def _change(
    bound: Bound,
    value: float | None,
    causes: list[Cause],
    samples: int,
    upper: tuple[ErrorType, ...],
    baseline: Baseline,
) -> GateReason:
    before = value_of(bound, baseline.summary)
    p_value = interval = None
    if baseline.comparison is None:
        causes.append(Cause.OTHER_EVIDENCE)
    else:
        compared = baseline.comparison[bound.group]
        p_value, interval = _p_value(bound, compared), _interval(bound, compared)
    if before is None and Cause.NO_VALUE not in causes:
        causes.append(Cause.NO_VALUE)
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
                causes.append(Cause.WIDE_INTERVAL)
    if causes:
        decision = GateDecision.UNDECIDED
    return GateReason(decision, bound, value, limit, before, p_value, samples, tuple(dict.fromkeys(causes)), upper)


def _holds(interval: Interval, at: float) -> bool:
    return interval.low < at < interval.high


def _p_value(bound: Bound, compared: GroupComparison) -> float | None:
    if bound.measure in QUESTIONS:
        return compared.tests[QUESTIONS[bound.measure]].p_value
    if bound.measure in TESTED:
        return type_p_value(bound.types, compared.transitions)
    return None


def _interval(bound: Bound, compared: GroupComparison) -> Interval | None:
    """Return the interval of the change, analysis - baseline, where the comparison has one."""
    if bound.measure is Measure.MULTI_LABEL_ACCURACY:
        return compared.multi_label_accuracy
    if bound.measure is Measure.RATE and len(bound.types) == 1:
        return compared.types.get(bound.types[0])
    question = QUESTIONS.get(bound.measure)
    found = compared.rates.get(question) if question else None
    if found is None or bound.measure not in (Measure.TOP1_ERROR_RATE, Measure.MULTI_LABEL_ERROR_RATE):
        return found
    return Interval(1 - found.a, 1 - found.b, -found.high, -found.low)

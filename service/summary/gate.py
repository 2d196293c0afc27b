"""Gate: evaluate the bounds of a policy for an analysis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from service.domain import (
    ERROR_TYPES,
    Bound,
    Coverage,
    Exactness,
    GateDecision,
    GatePolicy,
    GateReason,
    GroupComparison,
    Interval,
    Measure,
    PairedMetric,
    Subset,
    Summary,
    UndecidedReason,
    coverage_of,
)
from service.summary.compare import discordant_counts
from service.summary.mcnemar import ALPHA, detectable_change, mcnemar
from service.summary.measures import (
    FROM_SUMMARY,
    TOP1_MEASURES,
    counted_types,
    inexactness,
    value_of,
    value_of_counts,
)
from service.summary.score_interval import ONE_SIDED_95, score_intervals

PAIRED_METRICS: Mapping[Measure, PairedMetric] = {  # property of an image that McNemar's test of a measure compares
    Measure.TOP1_ACCURACY: PairedMetric.TOP1,
    Measure.TOP1_ERROR_RATE: PairedMetric.TOP1,
    Measure.MULTI_LABEL_ACCURACY: PairedMetric.MULTI_LABEL,
    Measure.MULTI_LABEL_ERROR_RATE: PairedMetric.MULTI_LABEL,
    Measure.SEVERE_ERROR_RATE: PairedMetric.SEVERE,
}
ON_WHOLE_ANALYSIS = (  # measures whose change is that of both whole analyses, even if they cover different images
    Measure.MULTI_LABEL_ACCURACY_FORGIVING_MINOR,
    Measure.MULTI_LABEL_ACCURACY_FORGIVING_EXPLAINABLE,
    Measure.IMAGENET_M_ERRORS,
)
MIN_COMMON = 0.99  # share of each analysis's samples that both must cover for a change of such a measure
TESTED = (*PAIRED_METRICS, Measure.COUNT, Measure.RATE)  # measures with a paired test and with one-sided limits
_ROUNDING = 1e-12  # a value that equals its limit passes in spite of rounding
_MAY_BE_HIGH = (Exactness.UPPER_BOUND, Exactness.INEXACT)
_MAY_BE_LOW = (Exactness.LOWER_BOUND, Exactness.INEXACT)


@dataclass(frozen=True)
class Baseline:
    """Baseline that changes are compared with."""

    summary: Summary
    comparison: Mapping[str, GroupComparison] | None  # A: baseline, B: analysis; None: different evidence


@dataclass(frozen=True)
class _Change:
    """A change in the direction that a limit restricts: an increase, or a decrease."""

    limit: float
    size: float
    low: float | None  # one-sided 95 % limits of the size; None: no comparison, or no test
    high: float | None

    @property
    def exceeds_limit(self) -> bool:
        """Whether the observed change is larger than the limit."""
        return self.size > self.limit + _ROUNDING


@dataclass(frozen=True)
class SliceResult:
    """Aggregates of the images of one slice."""

    summary: Summary
    baseline: Baseline | None  # None: the policy has no bounds on changes, or the baseline has no such slice


def evaluate(
    policy: GatePolicy,
    summary: Summary,
    baseline: Baseline | None,
    slices: Mapping[str, SliceResult] | None = None,
    subset: Subset | None = None,
) -> list[GateReason]:
    """Return the decision on each bound, starting with the bound on coverage.

    Args:
        policy: The policy.
        summary: The summary of the analysis.
        baseline: The baseline, for bounds on changes.
        slices: The results of the slices in the policy, by name. Slices that the data set lacks are missing.
        subset: The images that the analysis covers on purpose; None: all.
    """
    results = {"": SliceResult(summary, baseline)} | dict(slices or {})
    reasons = []
    if policy.min_coverage is not None:
        reasons.append(_coverage(policy.min_coverage, coverage_of(summary, subset)))
    for bound in policy.bounds:
        result = results.get(bound.slice)
        if result is None or (bound.slice and bound.is_on_change and result.baseline is None):
            has_other_evidence = result is not None and baseline is not None and baseline.comparison is None
            cause = UndecidedReason.OTHER_EVIDENCE if has_other_evidence else UndecidedReason.UNKNOWN_SLICE
            reasons.append(GateReason(GateDecision.UNDECIDED, bound, causes=(cause,)))
        else:
            reasons.append(_bound(policy, bound, result.summary, result.baseline))
    return reasons


def decision_of(reasons: Sequence[GateReason]) -> GateDecision:
    """Return the decision of the gate: FAIL if any bound fails, else UNDECIDED if any is undecided, else PASS."""
    return _worst([reason.decision for reason in reasons])


def _worst(decisions: Sequence[GateDecision]) -> GateDecision:
    for decision in (GateDecision.FAIL, GateDecision.UNDECIDED):
        if decision in decisions:
            return decision
    return GateDecision.PASS


def _coverage(limit: float, coverage: Coverage | None) -> GateReason:
    if coverage is None:
        return GateReason(GateDecision.UNDECIDED, None, None, limit, causes=(UndecidedReason.NO_VALUE,))
    decision = GateDecision.PASS if coverage.share >= limit - _ROUNDING else GateDecision.FAIL
    return GateReason(decision, None, coverage.share, limit, coverage=coverage)


def _bound(policy: GatePolicy, bound: Bound, summary: Summary, baseline: Baseline | None) -> GateReason:
    if bound.is_on_change:
        assert baseline is not None, "This is a bug: a policy with changes is refused without a baseline."
        return _on_change(policy, bound, summary, baseline)
    samples = summary.groups[bound.group].num_samples
    value = value_of(bound, summary)
    exactness, abstained = inexactness(bound, summary.abstained)
    causes = _causes(policy, bound, summary, samples, value)
    limits = [limit for limit in (bound.max, bound.min) if limit is not None]
    decisions = [] if value is None else _compare_with_limits(bound, value, exactness)
    decision, limit = _worst(decisions), limits[0]
    if value is not None and decision in decisions:
        limit = limits[decisions.index(decision)]
    if decision is GateDecision.UNDECIDED and UndecidedReason.ABSTAINED not in causes:
        causes.append(UndecidedReason.INEXACT_VALUE)
    if causes:
        decision = GateDecision.UNDECIDED
    return GateReason(
        decision,
        bound,
        value,
        limit,
        num_samples=samples,
        min_samples=policy.min_samples,
        causes=tuple(causes),
        abstained=abstained,
        exactness=exactness,
        has_rejected_targets=bool(summary.num_rejected_targets),
    )


def _compare_with_limits(bound: Bound, value: float, exactness: Exactness) -> list[GateDecision]:
    """Return the decision on `max`, then on `min`.

    A decision is UNDECIDED if the value is above the limit and may be too high, or below it and may be too low.
    """
    may_be_high, may_be_low = exactness in _MAY_BE_HIGH, exactness in _MAY_BE_LOW
    decisions = []
    for limit, is_above_accepted in ((bound.max, False), (bound.min, True)):
        if limit is None:
            continue
        excess = (value - limit) * (-1 if is_above_accepted else 1)
        accepted = excess <= _ROUNDING
        is_above = accepted is is_above_accepted
        if may_be_high if is_above else may_be_low:
            decisions.append(GateDecision.UNDECIDED)
        else:
            decisions.append(GateDecision.PASS if accepted else GateDecision.FAIL)
    return decisions


def _causes(
    policy: GatePolicy, bound: Bound, summary: Summary, samples: int, *values: float | None
) -> list[UndecidedReason]:
    """Return the reasons why a bound is undecided regardless of its value."""
    causes = [UndecidedReason.FEW_SAMPLES] if samples < policy.min_samples else []
    if any(error_type in summary.abstained for error_type in bound.types):
        causes.append(UndecidedReason.ABSTAINED)
    return [*causes, UndecidedReason.NO_VALUE] if None in values else causes


def _on_change(policy: GatePolicy, bound: Bound, summary: Summary, baseline: Baseline) -> GateReason:
    """Return the decision on a bound on a change."""
    value, before = _paired_values(bound, summary, baseline)
    compared = None if baseline.comparison is None else baseline.comparison[bound.group]
    samples = summary.groups[bound.group].num_samples if compared is None else compared.num_samples
    exactness, abstained = inexactness(bound, summary.abstained)
    causes = _causes(policy, bound, summary, samples, value, before)
    most_samples = max(side.groups[bound.group].num_samples for side in (summary, baseline.summary)) if compared else 0
    if compared is None:
        causes.append(UndecidedReason.OTHER_EVIDENCE)
    elif bound.measure in ON_WHOLE_ANALYSIS and samples < MIN_COMMON * most_samples:
        causes.append(UndecidedReason.OTHER_IMAGES)
    elif exactness is not Exactness.EXACT and summary.abstained != baseline.summary.abstained:
        causes += [] if UndecidedReason.ABSTAINED in causes else [UndecidedReason.INEXACT_VALUE]
    reason = GateReason(
        GateDecision.PASS,
        bound,
        value,
        _limits_of_change(bound)[0],
        before,
        num_samples=samples,
        min_samples=policy.min_samples,
        abstained=abstained,
        exactness=exactness,
        has_rejected_targets=bool(summary.num_rejected_targets),
        on_common_images=samples < most_samples and bound.measure not in ON_WHOLE_ANALYSIS,
    )
    if compared is not None:
        reason = _with_statistics(reason, bound, compared)
        if UndecidedReason.NO_VALUE not in causes:
            if bound.non_inferiority and reason.change_limits is None:
                causes.append(UndecidedReason.NO_VALUE)
            if bound.undecided_within_interval and _interval(bound, compared) is None:
                causes.append(UndecidedReason.NO_INTERVAL)
    if value is not None and before is not None:
        changes = _changes(bound, value - before, reason)
        decisions = [_decide_change(bound, change, reason.p_value) for change in changes]
        decision = _worst(decisions)
        if decision in decisions:
            reason = replace(reason, decision=decision, limit=changes[decisions.index(decision)].limit)
        if compared is not None and (_contain_limit(bound, changes) or _is_within_interval(bound, compared)):
            causes.append(UndecidedReason.WIDE_INTERVAL)
        is_untested = bound.alpha is not None and reason.is_opposite_to_images
        if is_untested and any(change.exceeds_limit for change in changes):
            causes.append(UndecidedReason.OTHER_DIRECTION)
    return replace(reason, decision=GateDecision.UNDECIDED, causes=tuple(causes)) if causes else reason


def _limits_of_change(bound: Bound) -> list[float]:
    return [limit for limit in (bound.max_increase, bound.max_decrease) if limit is not None]


def _changes(bound: Bound, change: float, reason: GateReason) -> list[_Change]:
    """Return the change in the direction of each limit, the increase first."""
    low, high = reason.change_limits or (None, None)
    changes = []
    if bound.max_increase is not None:
        changes.append(_Change(bound.max_increase, change, low, high))
    if bound.max_decrease is not None:
        changes.append(
            _Change(bound.max_decrease, -change, None if high is None else -high, None if low is None else -low)
        )
    return changes


def _decide_change(bound: Bound, change: _Change, p_value: float | None) -> GateDecision:
    if bound.non_inferiority:
        is_below = change.high is not None and change.high < change.limit
        return GateDecision.PASS if is_below else GateDecision.FAIL
    is_significant = bound.alpha is None or (p_value is not None and p_value < bound.alpha)
    return GateDecision.FAIL if change.exceeds_limit and is_significant else GateDecision.PASS


def _contain_limit(bound: Bound, changes: Sequence[_Change]) -> bool:
    """Return whether the bound's limit is between the one-sided confidence limits of a test of non-inferiority."""
    return bound.non_inferiority and any(
        change.low is not None and change.high is not None and change.low < change.limit <= change.high
        for change in changes
    )


def _paired_values(bound: Bound, summary: Summary, baseline: Baseline) -> tuple[float | None, float | None]:
    """Return the values of the analysis and the baseline, over common samples if there is a comparison."""
    compared = None if baseline.comparison is None else baseline.comparison[bound.group]
    if compared is not None and bound.measure is Measure.MULTI_LABEL_ACCURACY:
        before, value = compared.multi_label_accuracies or (None, None)
        return value, before
    if compared is not None and bound.measure is Measure.ACCURACY_AGAINST_LABELS:
        interval = compared.accuracy_against_labels
        return (None, None) if interval is None else (interval.b, interval.a)
    if compared is not None and bound.measure in TOP1_MEASURES:
        correct, samples = int(bound.measure is Measure.TOP1_ACCURACY), compared.num_samples
        if not samples:
            return None, None
        return float(compared.top1[:, correct].sum() / samples), float(compared.top1[correct].sum() / samples)
    if compared is not None and bound.measure not in FROM_SUMMARY:
        counts_a, counts_b = compared.transitions.sum(axis=1).tolist(), compared.transitions.sum(axis=0).tolist()
        sides = [dict(zip(ERROR_TYPES, counts, strict=True)) for counts in (counts_a, counts_b)]
        return value_of_counts(bound, sides[1]), value_of_counts(bound, sides[0])
    return value_of(bound, summary), value_of(bound, baseline.summary)


def _with_statistics(reason: GateReason, bound: Bound, compared: GroupComparison) -> GateReason:
    """Return a reason with its p-value, its power, and its one-sided limits, if the measure has a paired test."""
    if bound.measure not in TESTED or not compared.num_samples:
        return reason
    only_a, only_b = discordant_counts(counted_types(bound), compared.transitions)
    if bound.measure in TOP1_MEASURES:  # error types do not determine top-1 errors if labels reject targets
        lost, gained = compared.top1_broken, compared.top1_fixed
        only_a, only_b = (lost, gained) if bound.measure is Measure.TOP1_ACCURACY else (gained, lost)
    metric = PAIRED_METRICS.get(bound.measure)
    p_value = compared.tests[metric].p_value if metric else float(mcnemar(only_a, only_b))
    unit = compared.num_samples if bound.measure is Measure.COUNT else 1
    is_opposite = False  # a mean over classes can decrease while the share of images increases
    if bound.measure is Measure.MULTI_LABEL_ACCURACY and reason.value is not None and reason.baseline is not None:
        is_opposite = (reason.value - reason.baseline) * (only_b - only_a) < -_ROUNDING
    detectable = detectable_change(compared.num_samples, only_a, only_b, bound.alpha or ALPHA)
    limits = None
    if bound.non_inferiority and bound.measure is Measure.MULTI_LABEL_ACCURACY:
        interval = compared.multi_label_accuracy_limits
        limits = None if interval is None else (interval.low, interval.high)
    elif bound.non_inferiority:
        low, high = score_intervals(compared.num_samples, only_a, only_b, ONE_SIDED_95)
        limits = (unit * float(low), unit * float(high))
    return replace(
        reason,
        p_value=None if is_opposite else p_value,
        is_opposite_to_images=is_opposite,
        detectable_change=None if detectable is None else unit * detectable,
        change_limits=limits,
    )


def _is_within_interval(bound: Bound, compared: GroupComparison) -> bool:
    """Return whether a limit is inside the interval of the change, although the policy requires it to be outside."""
    interval = _interval(bound, compared) if bound.undecided_within_interval else None
    if interval is None:
        return False
    limits = [bound.max_increase, None if bound.max_decrease is None else -bound.max_decrease]
    return any(limit is not None and interval.low < limit < interval.high for limit in limits)


def has_interval(measure: Measure, types: Sequence[object]) -> bool:
    """Return whether a comparison has an interval of the change of a measure of these error types."""
    is_rate_of_one_type = measure is Measure.RATE and len(types) == 1
    return measure in PAIRED_METRICS or measure is Measure.ACCURACY_AGAINST_LABELS or is_rate_of_one_type


def _interval(bound: Bound, compared: GroupComparison) -> Interval | None:
    """Return the 95 % interval of the change, analysis - baseline; None if the comparison has none."""
    if bound.measure is Measure.MULTI_LABEL_ACCURACY:
        return compared.multi_label_accuracy
    if bound.measure is Measure.ACCURACY_AGAINST_LABELS:
        return compared.accuracy_against_labels
    types = counted_types(bound)
    if bound.measure in (Measure.RATE, Measure.SEVERE_ERROR_RATE) and len(types) == 1:
        return compared.types.get(types[0])
    metric = PAIRED_METRICS.get(bound.measure)
    interval = compared.rates.get(metric) if metric else None
    if interval is None or bound.measure not in (Measure.TOP1_ERROR_RATE, Measure.MULTI_LABEL_ERROR_RATE):
        return interval
    return Interval(1 - interval.a, 1 - interval.b, -interval.high, -interval.low)

"""Texts of gates: names of bounds, and the reason for each decision."""

import math
from collections.abc import Mapping, Sequence

from errata.groups import group_title
from errata.messages import (
    CLASS_ACCURACY,
    MISSING,
    common_images_note,
    error_noun,
    format_count,
    format_percentage,
    format_signed,
    list_names,
)

from service.domain import ALL, Analysis, Bound, Exactness, GateReason, GateResult, Measure, State, UndecidedReason
from service.report.messages.coverage import describe_coverage
from service.report.messages.formatting import capitalize, describe_p_value

MEASURE_NAMES: Mapping[Measure, str] = {  # {types}: plural names of the bounded error types; {error}: see `error_noun`
    Measure.TOP1_ACCURACY: "top-1 accuracy",
    Measure.ACCURACY_AGAINST_LABELS: "accuracy against the labels",
    Measure.MULTI_LABEL_ACCURACY: CLASS_ACCURACY,
    Measure.MULTI_LABEL_ACCURACY_FORGIVING_MINOR: "multi-label accuracy with minor errors forgiven",
    Measure.MULTI_LABEL_ACCURACY_FORGIVING_EXPLAINABLE: "multi-label accuracy with explainable errors forgiven",
    Measure.TOP1_ERROR_RATE: "top-1 error rate",
    Measure.MULTI_LABEL_ERROR_RATE: "multi-label error rate",
    Measure.SEVERE_ERROR_RATE: "severe error rate",
    Measure.IMAGENET_M_ERRORS: "number of ImageNet-M errors",
    Measure.COUNT: "number of {types}",
    Measure.RATE: "rate of {types}",
    Measure.PORTION_OF_TOP1_ERRORS: "portion of {types} among the {error}s",
    Measure.PORTION_OF_MULTI_LABEL_ERRORS: "portion of {types} among the multi-label errors",
}
COVERAGE = "share of evaluated images with a prediction"
MINIMUM_COVERAGE = "minimum coverage"  # name of the bound of a policy on the coverage
WHOLE_ANALYSIS, BASELINE = "the analysis", "the baseline"
MISSING_BASELINE = "The policy has bounds on changes, but no earlier version exists to compare with."
MISSING_POLICY = "The rule that started the analysis has no policy. Add 'policy' to the rule in ERRATA_REGISTRIES."
ANALYSIS_PENDING = "The analysis is not finished."
ANALYSIS_WITHOUT_RESULT = "The analysis failed or was canceled."
_UNDECIDED_REASONS: Mapping[UndecidedReason, str] = {
    UndecidedReason.FEW_SAMPLES: "too few samples",
    UndecidedReason.ABSTAINED: "the rule of an error type in the bound has no evidence",
    UndecidedReason.OTHER_EVIDENCE: "the baseline uses another data set, or other evidence: select a baseline of the "
    "same data set, or run 'errata reanalyze'",
    UndecidedReason.WIDE_INTERVAL: "the confidence interval of the change contains the bound",
    UndecidedReason.NO_INTERVAL: "the change has no confidence interval",
    UndecidedReason.OTHER_DIRECTION: "the change exceeds the limit, but McNemar's test of the images does not "
    "support it",
    UndecidedReason.INEXACT_VALUE: "without the missing evidence, the value can be on the other side of the bound",
    UndecidedReason.NO_VALUE: "the value is not available",
    UndecidedReason.UNKNOWN_SLICE: "the data set has no such slice, several attributes have this value (use "
    "ATTRIBUTE=VALUE), or the analysis is a folder, which has no slices",
    UndecidedReason.OTHER_IMAGES: "the analysis and its baseline cover different images, and the measure is not known "
    "for the common images",
    UndecidedReason.NOT_FINISHED: "the analysis or its baseline is not finished",
    UndecidedReason.ENDED_WITHOUT_RESULT: "the analysis or its baseline failed or was canceled",
}
_EXACTNESS: Mapping[Exactness, str] = {
    Exactness.EXACT: "exact",
    Exactness.UPPER_BOUND: "an upper bound",
    Exactness.LOWER_BOUND: "a lower bound",
    Exactness.INEXACT: "inexact",
}
MIN_DECIMALS, MAX_DECIMALS = 2, 6  # of percentages
ROUNDING = 1e-7  # a smaller difference of percentages or counts is a rounding error
_COUNTS = (Measure.COUNT, Measure.IMAGENET_M_ERRORS)


def bound_name(reason: GateReason) -> str:
    """Return the name of the bound that a reason is about."""
    if reason.bound is not None:
        return reason.bound.name
    if reason.implausible is not None and reason.is_baseline:
        return BASELINE
    return WHOLE_ANALYSIS if reason.limit is None else MINIMUM_COVERAGE


def gate_reason(reason: GateReason) -> str:
    """Describe the decision on a bound: the measured value, the limit, and why the bound is undecided."""
    if reason.without_result is not None:
        return _without_result(reason.without_result, reason.is_baseline)
    if reason.implausible is not None:
        subject = "baseline" if reason.is_baseline else "analysis"
        return f"The predictions of the {subject} {reason.implausible.id} are implausible: see its warnings."
    causes = "; ".join(_describe_cause(cause, reason) for cause in reason.causes)
    if reason.bound is None and reason.limit is None:
        return f"{capitalize(causes)}."
    sentences = [_coverage(reason)] if reason.bound is None else _limits(reason, reason.bound)
    if reason.abstained:
        rules = list_names([f"“{error_type.title}”" for error_type in reason.abstained])
        noun, verb = ("rule", "has") if len(reason.abstained) == 1 else ("rules", "have")
        sentences.append(f"The value is {_EXACTNESS[reason.exactness]} because the {noun} {rules} {verb} no evidence.")
    if causes:
        sentences.append(f"Undecided: {causes}.")
    return " ".join(sentences)


def reason_lines(result: GateResult | None, is_baseline_missing: bool) -> list[str]:
    """Return one line for each reason: its decision and its text.

    Args:
        result: The result of the gate; None if the gate was not evaluated.
        is_baseline_missing: Whether the gate was not evaluated because no baseline exists.

    Returns:
        For example ["pass: Severe error rate is 4.12 %; at most 5.00 % is allowed."].
    """
    if result is None:
        return [f"undecided: {MISSING_BASELINE}"] if is_baseline_missing else []
    return [f"{reason.decision.name.lower()}: {gate_reason(reason)}" for reason in result.reasons]


def _without_result(analysis: Analysis, is_baseline: bool) -> str:
    """Describe why an analysis has no result. The message of a baseline is left out: registries publish reasons."""
    subject = f"The {'baseline' if is_baseline else 'analysis'} {analysis.id}"
    if not analysis.state.is_final:
        return f"{subject} is not finished."
    if analysis.state is State.CANCELLED:
        return f"{subject} was canceled."
    if analysis.failure is None:
        return f"{subject} failed."
    if is_baseline:
        return f"{subject} failed with {analysis.failure.reason}."
    return f"{subject} failed: {analysis.failure.message}"


def _describe_cause(cause: UndecidedReason, reason: GateReason) -> str:
    bound = reason.bound
    if cause is UndecidedReason.FEW_SAMPLES and reason.num_samples is not None and reason.min_samples is not None:
        return f"too few samples ({format_count(reason.num_samples)} of at least {format_count(reason.min_samples)})"
    if cause is UndecidedReason.NO_VALUE and reason.value is not None and bound is not None and bound.non_inferiority:
        return "the change has no confidence limits"
    if cause is UndecidedReason.NO_VALUE and bound is not None and bound.measure is Measure.IMAGENET_M_ERRORS:
        return "the evidence lists no images of ImageNet-M, or some of them have no prediction"
    return _UNDECIDED_REASONS[cause]


def measure_name(bound: Bound, has_rejected_targets: bool = False) -> str:
    """Return the name of a bounded measure, for example "rate of model failures (organisms)"."""
    types = list_names([error_type.plural for error_type in bound.types])
    subsets = [] if bound.group == ALL else [group_title(bound.group)]
    subsets += [f"slice {bound.slice}"] if bound.slice else []
    subset = f" ({', '.join(subsets)})" if subsets else ""
    return f"{MEASURE_NAMES[bound.measure].format(types=types, error=error_noun(has_rejected_targets))}{subset}"


def _coverage(reason: GateReason) -> str:
    percentage = f"{round(100 * (reason.limit or 0), 4):g}"
    limit = f"at least {percentage} % is required"
    if reason.coverage is None:
        return f"The {COVERAGE} is {format_percentage(reason.value)}; {limit}."
    decimals = max(1, len(percentage.partition(".")[2]))  # otherwise, 99.99 % would be 99.9 %, which seems too little
    return f"Coverage: {describe_coverage(reason.coverage, decimals)}; {limit}."


def _limits(reason: GateReason, bound: Bound) -> list[str]:
    is_count = bound.measure in _COUNTS
    decimals = _num_decimals(reason, bound)
    measure = capitalize(measure_name(bound, reason.has_rejected_targets))
    subject = f"{measure} is {_format_value(reason.value, is_count, decimals)}"
    if not bound.is_on_change:
        limits = (
            [f"at least {_format_value(bound.min, is_count, decimals)} is required"] if bound.min is not None else []
        )
        limits += (
            [f"at most {_format_value(bound.max, is_count, decimals)} is allowed"] if bound.max is not None else []
        )
        return [f"{subject}; {' and '.join(limits)}."]
    baseline = f"baseline: {_format_value(reason.baseline, is_count, decimals)}"
    p_value = f", {describe_p_value(reason.p_value, bound.alpha)}" if reason.p_value is not None else ""
    limits = []
    if bound.max_increase is not None:
        limits.append(f"an increase of at most {_format_difference(bound.max_increase, is_count)}")
    if bound.max_decrease is not None:
        limits.append(f"a decrease of at most {_format_difference(bound.max_decrease, is_count)}")
    sentences = [f"{subject} ({baseline}{p_value}); {' or '.join(limits)} is allowed."]
    if reason.on_common_images:
        subset = " of the slice" if bound.slice else " of the group" if bound.group != ALL else ""
        sentences.append(common_images_note(reason.num_samples or 0, subset))
    if bound.alpha is not None:
        sentences.append(f"A change counts if p < {bound.alpha:g}.")
    if reason.is_opposite_to_images:
        sentences.append(
            "McNemar's test does not count: the share of correct images changed in the opposite direction."
        )
    if reason.change_limits is not None:
        low, high = _format_change_limits(reason.change_limits, bound, is_count)
        sentences.append(f"Non-inferiority: the one-sided 95 % limits of the change are {low} and {high}.")
    if reason.detectable_change is not None:
        images = " of images" if bound.measure is Measure.MULTI_LABEL_ACCURACY else ""
        change = _format_detectable(reason.detectable_change, is_count)
        sentences.append(f"McNemar's test{images} finds a change of {change} or more with 80 % power.")
    return sentences


def _num_decimals(reason: GateReason, bound: Bound) -> int:
    """Return how many decimals distinguish a percentage from its bounds: 3 for 12.001 % and a bound of 12.00 %.

    A percentage is also distinguished from its baseline, and from the baseline with the largest change.
    """
    limits = [bound.min, bound.max]
    if (before := reason.baseline) is not None:
        limits += [before, before + (bound.max_increase or 0), before - (bound.max_decrease or 0)]
    values = [] if reason.value is None else [100 * reason.value]
    return _decimals_between(values, [100 * limit for limit in limits if limit is not None], MIN_DECIMALS)


def _decimals_between(values: Sequence[float], limits: Sequence[float], min_decimals: int) -> int:
    """Return how many decimals distinguish values from the limits that they are not equal to."""
    pairs = [(value, limit) for value in values for limit in limits if abs(value - limit) > ROUNDING]
    for decimals in range(min_decimals, MAX_DECIMALS):
        if all(round(value, decimals) != round(limit, decimals) for value, limit in pairs):
            return decimals
    return MAX_DECIMALS


def _format_value(value: float | None, is_count: bool, decimals: int = MIN_DECIMALS) -> str:
    if value is None:
        return MISSING
    return format_count(round(value)) if is_count else f"{100 * value:.{decimals}f} %"


def _format_difference(value: float, is_count: bool) -> str:
    if is_count:
        return format_count(round(value))
    points = f"{100 * value:.6f}".rstrip("0").rstrip(".")
    return f"{points} {'point' if points == '1' else 'points'}"


def _format_change_limits(limits: Sequence[float], bound: Bound, is_count: bool) -> list[str]:
    """Format the confidence limits of a change with the decimals that distinguish them from the bound."""
    scale, unit, min_decimals = (1, "", 1) if is_count else (100, " points", MIN_DECIMALS)
    values = [scale * limit for limit in limits]
    bounds = [] if bound.max_increase is None else [scale * bound.max_increase]
    bounds += [] if bound.max_decrease is None else [-scale * bound.max_decrease]
    decimals = _decimals_between(values, bounds, min_decimals)
    return [f"{format_signed(value, decimals)}{unit}" for value in values]


def _format_detectable(value: float, is_count: bool) -> str:
    """Format the smallest detectable change, rounded up: the test has less power for a smaller change."""
    if is_count:
        return format_count(math.ceil(value))
    return f"{math.ceil(10_000 * value - 1e-9) / 100:.2f} points"

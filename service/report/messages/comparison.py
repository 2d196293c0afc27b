"""Texts of comparisons of two analyses."""

from collections.abc import Mapping, Sequence

from errata.messages import IMAGE_ACCURACY, format_count, pluralize

from service.domain import SEVERE_TYPES, GroupComparison, Interval, PairedMetric, PairedTest
from service.report.messages.formatting import describe_change, describe_p_value

INTERVALS_TITLE = "change from A to B, percentage points"
PAIRED_METRIC_NAMES: Mapping[PairedMetric, str] = {
    PairedMetric.TOP1: "top-1 accuracy",
    PairedMetric.MULTI_LABEL: "multi-label correctness",
    PairedMetric.SEVERE: "severe errors",
}
RATE_NAMES: Mapping[PairedMetric, str] = {
    PairedMetric.TOP1: "top-1 accuracy",
    PairedMetric.MULTI_LABEL: IMAGE_ACCURACY,
    PairedMetric.SEVERE: "severe error rate",
}
_COUNTED: Mapping[PairedMetric, str] = {
    PairedMetric.TOP1: "top-1 correct predictions",
    PairedMetric.MULTI_LABEL: "multi-label correct predictions",
    PairedMetric.SEVERE: "severe errors",
}


def comparison_summary(comparison: GroupComparison) -> str:
    """Summarize the changes from A to B, for example "fixes 12 images, breaks 3 images; severe errors: no change"."""
    if not comparison.num_samples:
        return "no image was evaluated in both analyses"
    failures = sum(map(comparison.broken, SEVERE_TYPES))
    new_failures = f" ({pluralize(failures, 'new model failure')})" if failures else ""
    return (
        f"fixes {pluralize(comparison.fixed(), 'image')}, breaks {pluralize(comparison.broken(), 'image')}"
        f"{new_failures}; severe errors: {_net_change(comparison.tests[PairedMetric.SEVERE])}"
    )


def test_result(test: PairedTest) -> str:
    """Describe the result of a paired test in a sentence."""
    if test.only_a == test.only_b == 0:
        return f"No change in {PAIRED_METRIC_NAMES[test.metric]}."
    counts = f"{pluralize(test.only_a, 'image')} only in A, {format_count(test.only_b)} only in B"
    statistics = f"{counts}; {describe_p_value(test.p_value)}"
    if not test.significant:
        return f"No significant change in {PAIRED_METRIC_NAMES[test.metric]} ({statistics})."
    direction = "more" if test.only_b > test.only_a else "fewer"
    return f"B has significantly {direction} {_COUNTED[test.metric]} ({statistics})."


def intervals_description(rows: Sequence[tuple[str, Interval]]) -> str:
    """Describe changes with their confidence intervals for screen readers."""
    changes = "; ".join(f"{name} {describe_change(interval)}" for name, interval in rows)
    return f"Changes from A to B with 95 % confidence intervals: {changes}."


def error_type_rate_name(title: str) -> str:
    """Return the name of the rate of an error type among all images."""
    return f"{title} (images)"


def _net_change(test: PairedTest) -> str:
    if test.only_a == test.only_b == 0:
        return "no change"
    if not test.significant:
        return f"no significant change, {describe_p_value(test.p_value)}"
    net = test.only_b - test.only_a
    return f"{format_count(abs(net))} {'more' if net > 0 else 'fewer'}, {describe_p_value(test.p_value)}"

"""The slices that the bounds of a gate policy name: summaries and comparisons over the images of each slice."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from service.analyses.compare import is_comparable, pair_judged
from service.analyses.judge import JudgedAnalysis, compute_summary
from service.domain import GatePolicy, Mask
from service.summary.compare import compare_groups
from service.summary.gate import Baseline, SliceResult


def slice_results(
    policy: GatePolicy, judged: JudgedAnalysis, baseline: JudgedAnalysis | None = None
) -> Mapping[str, SliceResult]:
    """Return the results of the slices that a policy names, without slices that do not exist.

    If the baseline does not have a slice, the result of the slice has no baseline.
    """
    results = {}
    for name in dict.fromkeys(bound.slice for bound in policy.bounds if bound.slice):
        mask = _mask(judged, name)
        before = None if baseline is None else _mask(baseline, name)
        if mask is None:
            continue
        groups = {bound.group for bound in policy.bounds if bound.slice == name and bound.is_on_change}
        compared = None if baseline is None or before is None else _compare(judged, mask, baseline, before, groups)
        results[name] = SliceResult(compute_summary(judged.bundle, judged.predictions, mask), compared)
    return results


def _mask(judged: JudgedAnalysis, name: str) -> Mask | None:
    number = None if judged.attributes is None else judged.attributes.find(name)
    return None if judged.attributes is None or number is None else judged.attributes.mask(number)


def _compare(
    judged: JudgedAnalysis, mask: Mask, baseline: JudgedAnalysis, before: Mask, groups: Collection[str]
) -> Baseline:
    """Return the baseline for the images of a slice only, compared over all of them and over the named groups."""
    summary = compute_summary(baseline.bundle, baseline.predictions, before)
    if not groups or not is_comparable(baseline.analysis, judged.analysis):
        return Baseline(summary, None)
    pair = pair_judged(baseline, judged)
    pair = replace(pair, counted=pair.counted & mask)
    masks = {group: members for group, members in judged.bundle.groups.items() if group in groups}
    return Baseline(summary, compare_groups(pair, masks))

"""The slices that the bounds of a gate policy name, as summaries and comparisons of their images only."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from service.analyses.compare import is_comparable
from service.analyses.judge import JudgedAnalysis
from service.domain import NO_TYPE, GatePolicy, Mask, Summary, build_strata
from service.rules.table import error_types
from service.summary.compare import compare_groups, pair_verdicts
from service.summary.gate import Baseline, SliceResult
from service.summary.summarize import summarize


def slice_results(
    policy: GatePolicy, judged: JudgedAnalysis, baseline: JudgedAnalysis | None = None
) -> Mapping[str, SliceResult]:
    """Return the results of the slices that a policy names, without slices that do not exist."""
    results = {}
    for name in dict.fromkeys(bound.slice for bound in policy.bounds if bound.slice):
        mask = _mask(judged, name)
        before = None if baseline is None else _mask(baseline, name)
        if mask is None or (baseline is not None and before is None):
            continue
        compared = None if baseline is None or before is None else _compare(judged, mask, baseline, before)
        results[name] = SliceResult(_summarize(judged, mask), compared)
    return results


def _mask(judged: JudgedAnalysis, name: str) -> Mask | None:
    number = None if judged.attributes is None else judged.attributes.find(name)
    return None if judged.attributes is None or number is None else judged.attributes.mask(number)


def _summarize(judged: JudgedAnalysis, mask: Mask) -> Summary:
    """Return the summary of the images of a mask."""
    bundle, types = judged.bundle, error_types(judged.verdicts)
    counted = mask & ~np.asarray(bundle.evidence.problematic) & (types != NO_TYPE)
    strata = build_strata(bundle.evidence.targets, counted, bundle.arrays["groups"])
    return summarize(types, strata, bundle.manifest.abstained, judged.predictions, bundle.all_targets)


def _compare(judged: JudgedAnalysis, mask: Mask, baseline: JudgedAnalysis, before: Mask) -> Baseline:
    """Return the baseline of the images of a mask."""
    summary = _summarize(baseline, before)
    if not is_comparable(baseline.analysis, judged.analysis):
        return Baseline(summary, None)
    evidence = judged.bundle.evidence
    types_a, types_b = error_types(baseline.verdicts), error_types(judged.verdicts)
    pair = pair_verdicts(types_a, types_b, evidence.targets, np.asarray(evidence.problematic))
    pair = replace(pair, counted=pair.counted & mask)
    return Baseline(summary, compare_groups(pair, np.asarray(judged.bundle.arrays["groups"])))

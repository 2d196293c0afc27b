"""Evaluate a gate policy for an analysis, and for its changes against a baseline."""

from collections.abc import Mapping

from errata.errors import InvalidRequest

from service.analyses import queries
from service.analyses.audit import record_gate
from service.analyses.compare import Side, compare_groups_of_sides, to_side
from service.analyses.gate_slices import slice_results
from service.analyses.policy import check_baseline, check_groups, parse_policy, with_min_coverage
from service.analyses.ports import Stores
from service.analyses.verdicts import load_judged
from service.domain import Analysis, GateDecision, GatePolicy, GateReason, GateResult, State, UndecidedReason
from service.summary.gate import Baseline, SliceResult, decision_of, evaluate


def evaluate_gate(
    stores: Stores,
    analysis_id: str,
    policy: str = "",
    baseline: str = "",
    min_coverage: float | None = None,
    *,
    actor: str = "",
) -> GateResult:
    """Evaluate a gate policy for an analysis.

    Args:
        stores: The stores.
        analysis_id: The analysis.
        policy: The policy as YAML; empty: the policy of the analysis's request.
        baseline: The analysis to compare with; empty: the baseline of the analysis's request.
        min_coverage: The minimum coverage; None: the minimum coverage of the policy.
        actor: The actor in the audit log; empty: the caller.

    Raises:
        AnalysisNotFound: The analysis or the baseline does not exist.
        InvalidPolicy: The policy is invalid, or has a bound on a group that the data set does not have.
        InvalidRequest: There is no policy, or the policy has bounds on changes and there is no baseline.
    """
    analysis = queries.get(stores, analysis_id)
    result, text = _evaluate(stores, analysis, policy, baseline, min_coverage)
    record_gate(stores, analysis, text, result, actor)
    return result


def _evaluate(
    stores: Stores, analysis: Analysis, policy: str, baseline: str, min_coverage: float | None
) -> tuple[GateResult, str]:
    """Return the result of a gate, and the policy that it used."""
    text = policy or analysis.request.gate_policy
    if not text:
        raise InvalidRequest(
            f"No policy to evaluate: analysis {analysis.id} was created without one. Pass a policy.", field="policy"
        )
    parsed = with_min_coverage(parse_policy(text), min_coverage)
    baseline_id = (baseline or analysis.request.gate_baseline) if parsed.needs_baseline else ""
    check_baseline(parsed, baseline_id)
    before = queries.get(stores, baseline_id) if baseline_id else None
    for needed in (analysis, before):
        if needed is not None and needed.state is not State.SUCCEEDED:
            return unfinished_result(parsed, analysis, needed, baseline_id), text
    if before is None and not parsed.has_slices:
        return evaluate_policy(parsed, analysis), text
    judged = load_judged(stores, analysis.id)
    judged_before = load_judged(stores, before.id) if before is not None else None
    slices = slice_results(parsed, judged, judged_before)
    if judged_before is None:
        return evaluate_policy(parsed, analysis, slices=slices), text
    return evaluate_policy(parsed, analysis, to_side(judged), to_side(judged_before), slices), text


def evaluate_policy(
    policy: GatePolicy,
    analysis: Analysis,
    side: Side | None = None,
    baseline: Side | None = None,
    slices: Mapping[str, SliceResult] | None = None,
) -> GateResult:
    """Evaluate a policy for a finished analysis.

    Args:
        policy: The policy.
        analysis: The analysis.
        side: The verdicts of the analysis, for bounds on changes.
        baseline: The verdicts of the baseline, for bounds on changes.
        slices: The results of the slices that the policy names; None: not available, as for an output folder.

    Raises:
        InvalidPolicy: The policy has a bound on a group that the data set does not have.
    """
    assert analysis.summary is not None, "this is a bug: a succeeded analysis has a summary"
    check_groups(policy, analysis.summary.groups)
    before, subjects = None, [(analysis, False)]
    if side is not None and baseline is not None and policy.needs_baseline:
        assert baseline.analysis.summary is not None, "this is a bug: a succeeded analysis has a summary"
        before = Baseline(baseline.analysis.summary, compare_groups_of_sides(baseline, side))
        if baseline.analysis.id != analysis.id:
            subjects.append((baseline.analysis, True))
    reasons = evaluate(policy, analysis.summary, before, slices, analysis.subset)
    reasons += [
        GateReason(GateDecision.PASS, None, implausible=subject, is_baseline=is_baseline)
        for subject, is_baseline in subjects
        if subject.implausible
    ]
    baseline_id = baseline.analysis.id if before is not None and baseline is not None else ""
    return GateResult(decision_of(reasons), policy.name, analysis.id, baseline_id, tuple(reasons))


def unfinished_result(policy: GatePolicy, analysis: Analysis, needed: Analysis, baseline: str) -> GateResult:
    """Return the result of a gate whose analysis or baseline has no result.

    Args:
        policy: The policy.
        analysis: The analysis.
        needed: The analysis without a result: the analysis itself or its baseline.
        baseline: The id of the baseline; empty if there is none.
    """
    decision, cause = (
        (GateDecision.ERROR, UndecidedReason.ENDED_WITHOUT_RESULT)
        if needed.state.is_final
        else (GateDecision.PENDING, UndecidedReason.NOT_FINISHED)
    )
    is_baseline = needed is not analysis
    reasons = (GateReason(decision, None, causes=(cause,), without_result=needed, is_baseline=is_baseline),)
    return GateResult(decision, policy.name, analysis.id, baseline, reasons)

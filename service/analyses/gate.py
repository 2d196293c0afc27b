"""Gate: an analysis, held against a policy and, where the policy asks for changes, against a baseline."""

from errata.errors import InvalidRequest, NotComparable

from service.analyses import queries
from service.analyses.compare import Side, compared_groups, side_of
from service.analyses.policy import check_baseline, parse_policy
from service.analyses.ports import Ports
from service.analyses.verdicts import judged
from service.domain import Analysis, GateDecision, GatePolicy, GateReason, GateResult, State, UndecidedReason
from service.summary.gate import Baseline, decision_of, evaluate


def evaluate_gate(ports: Ports, analysis_id: str, policy: str = "", baseline: str = "") -> GateResult:
    """Return what a policy says of an analysis; without a policy: the one that it was asked for with.

    Raise AnalysisNotFound, InvalidPolicy, or InvalidRequest where there is no policy, or no baseline for its changes.
    """
    analysis = queries.get(ports, analysis_id)
    text = policy or analysis.request.gate_policy
    if not text:
        raise InvalidRequest("expected a policy, got none: the analysis wasn't asked for with one", field="policy")
    parsed = parse_policy(text)
    against = (baseline or analysis.request.gate_baseline) if parsed.needs_baseline else ""
    check_baseline(parsed, against)
    other = queries.get(ports, against) if against else None
    for item in (analysis, other):
        if item is not None and item.state is not State.SUCCEEDED:
            return unfinished(parsed, analysis, item, against)
    if other is None:
        return decided(parsed, analysis)
    return decided(parsed, analysis, side_of(judged(ports, analysis.id)), side_of(judged(ports, other.id)))


def decided(
    policy: GatePolicy, analysis: Analysis, side: Side | None = None, baseline: Side | None = None
) -> GateResult:
    """Return what a policy says of a finished analysis; its own side and the baseline's where it bounds changes."""
    assert analysis.summary is not None, "this is a bug: what has succeeded has a summary"
    before = None
    if side is not None and baseline is not None and policy.needs_baseline:
        assert baseline.analysis.summary is not None, "this is a bug: what has succeeded has a summary"
        try:
            before = Baseline(baseline.analysis.summary, compared_groups(side, baseline))
        except NotComparable:
            before = Baseline(baseline.analysis.summary, None)
    reasons = evaluate(policy, analysis.summary, before)
    against = baseline.analysis.id if before is not None and baseline is not None else ""
    return GateResult(decision_of(reasons), policy.name, analysis.id, against, tuple(reasons))


def unfinished(policy: GatePolicy, analysis: Analysis, waits_for: Analysis, baseline: str) -> GateResult:
    """Return the result for an analysis that has no result of its own, or whose baseline has none."""
    decision, cause = (
        (GateDecision.ERROR, UndecidedReason.ENDED_WITHOUT_RESULT)
        if waits_for.state.is_final
        else (GateDecision.PENDING, UndecidedReason.NOT_FINISHED)
    )
    reasons = (GateReason(decision, None, causes=(cause,)),)
    return GateResult(decision, policy.name, analysis.id, baseline, reasons)

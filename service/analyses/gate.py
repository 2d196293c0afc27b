"""Gate: an analysis, held against a policy and, where the policy asks for changes, against a baseline."""

from service.analyses import look
from service.analyses.compare import compare_counts
from service.analyses.policy import check_baseline, parse_policy
from service.analyses.ports import Ports
from service.domain import Analysis, Cause, GateDecision, GatePolicy, GateReason, GateResult, State
from service.errors import InvalidRequest, NotComparable
from service.summary.gate import Baseline, decision_of, evaluate


def evaluate_gate(ports: Ports, analysis_id: str, policy: str = "", baseline: str = "") -> GateResult:
    """Return what a policy says of an analysis; without a policy: the one that it was asked for with.

    Raise AnalysisNotFound, InvalidPolicy, or InvalidRequest where there is no policy, or no baseline for its changes.
    """
    analysis = look.get(ports, analysis_id)
    text = policy or analysis.request.gate_policy
    if not text:
        raise InvalidRequest("expected a policy, got none: the analysis wasn't asked for with one", field="policy")
    parsed = parse_policy(text)
    against = (baseline or analysis.request.gate_baseline) if parsed.needs_baseline else ""
    check_baseline(parsed, against)
    if (early := unfinished(parsed, analysis, against)) is not None:
        return early
    assert analysis.summary is not None, "this is a bug: what has succeeded has a summary"
    before = None
    if against:
        other = look.get(ports, against)
        if (early := unfinished(parsed, other, against, analysis.id)) is not None:
            return early
        before = _baseline(ports, analysis, other)
    reasons = evaluate(parsed, analysis.summary, before)
    return GateResult(decision_of(reasons), parsed.name, analysis.id, against, tuple(reasons))


def unfinished(policy: GatePolicy, analysis: Analysis, baseline: str, gated: str = "") -> GateResult | None:
    """Return the result for an analysis, or a baseline, that has none of its own; None for one that has succeeded."""
    if analysis.state is State.SUCCEEDED:
        return None
    decision, cause = (
        (GateDecision.ERROR, Cause.ENDED_WITHOUT_RESULT)
        if analysis.state.final
        else (GateDecision.PENDING, Cause.NOT_FINISHED)
    )
    reasons = (GateReason(decision, None, causes=(cause,)),)
    return GateResult(decision, policy.name, gated or analysis.id, baseline, reasons)


def _baseline(ports: Ports, analysis: Analysis, other: Analysis) -> Baseline:
    assert other.summary is not None, "this is a bug: what has succeeded has a summary"
    try:
        return Baseline(other.summary, compare_counts(ports, analysis.id, other.id))
    except NotComparable:
        return Baseline(other.summary, None)

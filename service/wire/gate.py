"""Messages of gate results."""

from errata import v1 as pb

from service.domain import ALL, GateReason, GateResult
from service.report.messages.gate import bound_name, gate_reason
from service.wire.names import analysis_name


def to_gate_result(result: GateResult) -> pb.GateResult:
    """Convert the result of a gate."""
    return pb.GateResult(
        decision=f"GATE_DECISION_{result.decision.name}",
        policy=result.policy,
        analysis=analysis_name(result.analysis) if result.analysis else "",
        baseline=analysis_name(result.baseline) if result.baseline else "",
        reasons=[_to_reason(reason) for reason in result.reasons],
    )


def _to_reason(reason: GateReason) -> pb.GateReason:
    bound = reason.bound
    change_low, change_high = reason.change_limits or (None, None)
    return pb.GateReason(
        decision=f"GATE_DECISION_{reason.decision.name}",
        bound=bound_name(reason),
        message=gate_reason(reason),
        measure=bound.measure.value if bound else "",
        group=bound.group if bound else ALL,
        slice=bound.slice if bound else "",
        value=reason.value,
        limit=reason.limit,
        baseline_value=reason.baseline,
        p_value=reason.p_value,
        undecided_reasons=[f"UNDECIDED_REASON_{cause.name}" for cause in reason.causes],
        num_samples=reason.num_samples,
        detectable_change=reason.detectable_change,
        change_low=change_low,
        change_high=change_high,
    )

"""The result of a gate as text, for CI systems and people."""

from dataclasses import dataclass

from service.domain import GateDecision, GateResult
from service.report.messages.gate import MISSING_BASELINE, bound_name, gate_reason


@dataclass(frozen=True)
class GateReasonView:
    """The decision on one bound."""

    name: str
    decision: GateDecision
    message: str


@dataclass(frozen=True)
class GateView:
    """A decision and its reasons."""

    decision: GateDecision
    policy: str
    analysis: str  # empty: it has no name
    baseline: str  # empty: the policy bounds no changes
    reasons: tuple[GateReasonView, ...]


def gate_view(result: GateResult) -> GateView:
    """Convert the result of a gate for display."""
    return GateView(
        result.decision,
        result.policy,
        result.analysis,
        result.baseline,
        tuple(GateReasonView(bound_name(reason), reason.decision, gate_reason(reason)) for reason in result.reasons),
    )


def reason_lines(result: GateResult | None, is_baseline_missing: bool) -> list[str]:
    """Return one line for each bound: its decision and the reason.

    Args:
        result: The result of the gate; None if the gate was not evaluated.
        is_baseline_missing: Whether the gate was not evaluated because no baseline exists.

    Returns:
        For example ["pass: Severe error rate is 4.12 %; at most 5.00 % is allowed."].
    """
    if result is None:
        return [f"undecided: {MISSING_BASELINE}"] if is_baseline_missing else []
    return [f"{reason.decision.name.lower()}: {reason.message}" for reason in gate_view(result).reasons]

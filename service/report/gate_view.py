"""A gate's result in words, as pipelines and people are shown it."""

from dataclasses import dataclass

from service.domain import GateDecision, GateReason, GateResult
from service.report.messages import COVERAGE, NO_BASELINE, WHOLE_ANALYSIS, gate_reason


@dataclass(frozen=True)
class GateReasonView:
    """What became of one bound."""

    name: str
    decision: GateDecision
    message: str


@dataclass(frozen=True)
class GateView:
    """A decision and its reasons."""

    decision: GateDecision
    policy: str
    analysis: str  # empty: it has no name
    baseline: str  # empty: no changes are bounded
    reasons: tuple[GateReasonView, ...]


def gate_view(result: GateResult) -> GateView:
    """Return a gate's result in words."""
    return GateView(
        result.decision,
        result.policy,
        result.analysis,
        result.baseline,
        tuple(GateReasonView(name_of(reason), reason.decision, gate_reason(reason)) for reason in result.reasons),
    )


def reasons_of(result: GateResult | None, without_baseline: bool) -> list[str]:
    """Return why a gate decided as it did, a line a bound, each after what became of it."""
    if result is None:
        return [f"undecided: {NO_BASELINE}"] if without_baseline else []
    return [f"{reason.decision.name.lower()}: {reason.message}" for reason in gate_view(result).reasons]


def name_of(reason: GateReason) -> str:
    """Return what a reason is about."""
    if reason.bound is not None:
        return reason.bound.name
    return WHOLE_ANALYSIS if reason.limit is None else COVERAGE

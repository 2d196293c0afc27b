"""A gate's result in words, as pipelines and people are shown it."""

from dataclasses import dataclass

from service.domain import GateDecision, GateReason, GateResult
from service.report.words import COVERAGE, NO_BASELINE, WHOLE_ANALYSIS, gate_reason


@dataclass(frozen=True)
class ToldReason:
    """What became of one bound."""

    name: str
    decision: GateDecision
    message: str


@dataclass(frozen=True)
class ToldGate:
    """A decision and its reasons."""

    decision: GateDecision
    policy: str
    analysis: str  # empty: it has no name
    baseline: str  # empty: no changes are bounded
    reasons: tuple[ToldReason, ...]


def gate_view(result: GateResult) -> ToldGate:
    """Return a gate's result in words."""
    return ToldGate(
        result.decision,
        result.policy,
        result.analysis,
        result.baseline,
        tuple(ToldReason(name_of(each), each.decision, gate_reason(each)) for each in result.reasons),
    )


def reasons_of(result: GateResult | None, without_baseline: bool) -> list[str]:
    """Return why a gate decided as it did, a line a bound, each after what became of it."""
    if result is None:
        return [f"undecided: {NO_BASELINE}"] if without_baseline else []
    return [f"{each.decision.name.lower()}: {each.message}" for each in gate_view(result).reasons]


def name_of(reason: GateReason) -> str:
    """Return what a reason is about."""
    if reason.bound is not None:
        return reason.bound.name
    return WHOLE_ANALYSIS if reason.limit is None else COVERAGE

"""Results of gates as messages, for the tests of JUnit and Markdown."""

from errata import pb

from service.domain import GateDecision


def gate_reason(name: str, decision: GateDecision, message: str) -> pb.GateReason:
    return pb.GateReason(bound=name, decision=f"GATE_DECISION_{decision.name}", message=message)


def gate_result(
    decision: GateDecision, policy: str, name: str, baseline: str, reasons: tuple[pb.GateReason, ...]
) -> pb.GateResult:
    return pb.GateResult(
        decision=f"GATE_DECISION_{decision.name}", policy=policy, analysis=name, baseline=baseline, reasons=reasons
    )

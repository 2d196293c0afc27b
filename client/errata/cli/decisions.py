"""Names of the decisions of gates."""

from errata import pb
from errata.choices import enum_name


def decision_name(decision: "pb.GateDecision") -> str:
    """Return the name of a decision in lower case; `unknown` for a value of a newer service."""
    if decision not in pb.GateDecision.values() or decision == pb.GATE_DECISION_UNSPECIFIED:
        return "unknown"
    return enum_name(pb.GateDecision, decision)

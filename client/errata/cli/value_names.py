"""Values of analyses as text."""

from errata import pb
from errata.choices import enum_name
from errata.messages import MISSING


def decision_name(decision: "pb.GateDecision") -> str:
    """Return the name of a decision in lowercase; `unknown` for a value of a newer service."""
    if decision not in pb.GateDecision.values() or decision == pb.GATE_DECISION_UNSPECIFIED:
        return "unknown"
    return enum_name(pb.GateDecision, decision)


def creation_time(item: "pb.Analysis | pb.Review | pb.AuditEvent", seconds: bool = False) -> str:
    """Return the time at which an analysis, a review, or an audit event was created (UTC)."""
    try:
        return f"{item.create_time.ToDatetime():%Y-%m-%d %H:%M{':%S' if seconds else ''}}"
    except ValueError:  # outside the years 1 to 9999
        return MISSING

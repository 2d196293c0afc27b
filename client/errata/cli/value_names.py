"""Values of analyses as text."""

from collections import Counter
from collections.abc import Iterable, Mapping

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


ClassKey = tuple[int | str | None, str]  # the index or the ID of a class, and its name


def distinct_names(classes: Iterable[ClassKey]) -> Mapping[ClassKey, str]:
    """Return the names of classes; the index or the ID follows a name that several of the classes have."""
    distinct = {*classes}
    counts = Counter(name for _, name in distinct)
    return {
        (key, name): f"{name} ({f'class {key}' if isinstance(key, int) else key})" if counts[name] > 1 else name
        for key, name in distinct
    }

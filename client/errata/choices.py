"""Enumeration values by name, and their names."""

from collections.abc import Iterable
from typing import Any

from errata.errors import InvalidRequest
from errata.v1 import errata_pb2 as pb

_ENUMS: dict[str, Any] = {
    "BREAKDOWN_BY": pb.BreakdownBy,
    "ERROR_TYPE": pb.ErrorType,
    "GATE_DECISION": pb.GateDecision,
    "GROUP": pb.Group,
    "ROW_ORDER": pb.RowOrder,
    "STATE": pb.State,
    "TREND_METRIC": pb.TrendMetric,
    "VERDICT_FORMAT": pb.VerdictFormat,
}


def choice(prefix: str, value: str | int, field: str) -> Any:
    """Return the value of an enumeration.

    Args:
        prefix: The prefix of the enumeration's names in the proto, such as `ROW_ORDER`.
        value: A value, which is passed on unchecked; or a name in any case, with hyphens or underscores, with or
            without the prefix, such as `file-name`. Empty text means the default.
        field: The argument, for the error message.

    Raises:
        InvalidRequest: If there is no such name.
    """
    if not isinstance(value, str):
        return value
    enum = _ENUMS[prefix]
    if not value:
        return enum.Value(f"{prefix}_UNSPECIFIED")
    name = value.upper().replace("-", "_").removeprefix(f"{prefix}_")
    names = [key.removeprefix(f"{prefix}_") for key in enum.keys()[1:]]
    if name not in names:
        permitted = ", ".join(key.lower() for key in names)
        raise InvalidRequest(f"Unknown {field} {value!r:.80}. Expected one of: {permitted}.", field=field)
    return enum.Value(f"{prefix}_{name}")


def choice_name(prefix: str, value: int) -> str:
    """Return the name of a value without the prefix; `UNKNOWN_` and the number for a value of a newer service."""
    enum = _ENUMS[prefix]
    return enum.Name(value).removeprefix(f"{prefix}_") if value in enum.values() else f"UNKNOWN_{value}"


def choices(prefix: str, values: str | int | Iterable[str | int], field: str) -> list[Any]:
    """Return values of an enumeration from one or several values or names; see `choice`."""
    if isinstance(values, str | int):
        values = [values]
    return [choice(prefix, value, field) for value in values]

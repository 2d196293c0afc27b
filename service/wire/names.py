"""Names of the wire: resources, groups, enumerations by name."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from errata.errors import InvalidRequest
from errata.v1 import errata_pb2 as pb
from google.protobuf.message import Message

from service.domain import NUM_CLASSES, ErrorType, Group

Number = TypeVar("Number", int, float)

NAME_PREFIX = "analyses/"
GROUPS = {0: Group.ALL} | {pb.Group.Value(f"GROUP_{group.name}"): group for group in Group}


def analysis_name(analysis_id: str) -> str:
    """Return the resource name of an analysis."""
    return NAME_PREFIX + analysis_id


def analysis_id(name: str, field: str = "name") -> str:
    """Return the id in a resource name; a bare id is taken as well; raise InvalidRequest for anything else."""
    result = name.removeprefix(NAME_PREFIX)
    if not (result.isascii() and result.isalnum() and len(result) <= 64):
        raise InvalidRequest(f"expected {NAME_PREFIX}ID, got {name!r:.80}", field=field)
    return result


def group_of(value: int, field: str) -> Group:
    """Return a group; raise InvalidRequest if it is none."""
    if value not in GROUPS:
        raise InvalidRequest(f"expected a Group, got {value}", field=field)
    return GROUPS[value]


def group_value(group: Group) -> str:
    """Return a group's name on the wire."""
    return f"GROUP_{group.name}"


def class_index(value: int, field: str) -> int:
    """Return a class index; raise InvalidRequest if it is none."""
    if not 0 <= value < NUM_CLASSES:
        raise InvalidRequest(f"expected a class 0..{NUM_CLASSES - 1}, got {value}", field=field)
    return value


def enum_of(kind: Any, value: int, field: str) -> Any:
    """Return a member of an enumeration; raise InvalidRequest if it is none."""
    try:
        return kind(value)
    except ValueError as error:
        raise InvalidRequest(f"expected a {kind.__name__}, got {value}", field=field) from error


def by_name(values: Mapping[ErrorType, Number]) -> dict[str, Number]:
    """Return values by their error types' names."""
    return {error_type.name: value for error_type, value in values.items()}


def from_names(values: Mapping[str, Number], needed: Sequence[ErrorType] = ()) -> dict[ErrorType, Number]:
    """Return values by error type; raise InvalidRequest for a name that is none, or for a needed one that lacks."""
    unknown = [name for name in values if name not in ErrorType.__members__]
    missing = [item.name for item in needed if item.name not in values]
    if unknown or missing:
        raise InvalidRequest(f"expected values by error type, got {', '.join(values)[:200] or 'none'}", field="counts")
    return {ErrorType[name]: value for name, value in values.items()}


def optional(message: Message, field: str) -> Any:
    """Return a field's value, None where it isn't set."""
    return getattr(message, field) if message.HasField(field) else None

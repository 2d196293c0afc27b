"""Resource names, enum values, and maps keyed by error types."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from errata.error_types import find_error_type
from errata.errors import InvalidRequest
from errata.v1 import errata_pb2 as pb
from google.protobuf.message import Message

from service.domain import ERROR_TYPES, NUM_CLASSES, ErrorType, Group
from service.taxonomy.classes import classes_named, parse_class, similar_names

Number = TypeVar("Number", int, float)

NAME_PREFIX = "analyses/"
MAX_ID = 64  # characters
GROUPS = {0: Group.ALL} | {pb.Group.Value(f"GROUP_{group.name}"): group for group in Group}


def analysis_name(analysis_id: str) -> str:
    """Return the resource name of an analysis."""
    return NAME_PREFIX + analysis_id


def analysis_id(name: str, field: str = "name") -> str:
    """Return the ID of an analysis.

    Args:
        name: `analyses/ID` or the ID.
        field: The field of the request, for the error.

    Raises:
        InvalidRequest: The name has another form.
    """
    identifier = name.removeprefix(NAME_PREFIX)
    if not (identifier.isascii() and identifier.isalnum() and len(identifier) <= 64):
        raise InvalidRequest(
            f"Invalid analysis name {name!r:.80}. Use {NAME_PREFIX}ID or the ID. 'errata list' shows the IDs of all "
            "analyses with their display names.",
            field=field,
        )
    return identifier


def group_of(value: int, field: str) -> Group:
    """Return the group of an enum value; raise InvalidRequest for an unknown value."""
    if value not in GROUPS:
        raise InvalidRequest(f"Unknown group {value}. Use a value of the enum Group.", field=field)
    return GROUPS[value]


def group_value(group: Group) -> str:
    """Return the name of a group's enum value."""
    return f"GROUP_{group.name}"


def class_index(value: int, field: str) -> int:
    """Return the class index; raise InvalidRequest if it is out of range."""
    if not 0 <= value < NUM_CLASSES:
        raise InvalidRequest(f"Unknown class {value}. Use an index from 0 to {NUM_CLASSES - 1}.", field=field)
    return value


def class_named(text: str, field: str) -> int:
    """Return the class that a text names: an index, a WordNet ID, or a unique name.

    Raises:
        InvalidRequest: No class, or more than one, has this name. The message lists their indices, or
            similar names.
    """
    result = parse_class(text)
    if result is None:
        classes = classes_named(text)
        if len(classes) > 1:
            indices = " and ".join(map(str, classes))
            raise InvalidRequest(
                f"{len(classes)} classes have the name {text!r:.80}. Use the index of one of them: {indices}.",
                field=field,
            )
        near = similar_names(text)
        hint = f" Similar names: {', '.join(near)}." if near else ""
        raise InvalidRequest(
            f"Unknown class {text!r:.80}. Expected an index from 0 to {NUM_CLASSES - 1}, a WordNet ID, or a name that "
            f"only one class has.{hint}",
            field=field,
        )
    return result


def class_in(message: Message, name: str, field: str) -> int | None:
    """Return the class that the field `name` has as an index, or the field `name`_class as a text; None for neither.

    Raises:
        InvalidRequest: Both are set, or the value is not a class.
    """
    text: str = getattr(message, f"{name}_class")
    if not text:
        return class_index(getattr(message, name), field) if message.HasField(name) else None
    if message.HasField(name):
        raise InvalidRequest(f"Set either {field} or {field}_class, not both.", field=f"{field}_class")
    return class_named(text, f"{field}_class")


def enum_of(enum: Any, value: int, field: str) -> Any:
    """Return the member of an enumeration; raise InvalidRequest for an unknown value."""
    try:
        return enum(value)
    except ValueError as error:
        raise InvalidRequest(
            f"Unknown {field} {value}. Use a value of the enum {enum.__name__}.", field=field
        ) from error


def error_type_of(key: str, field: str) -> ErrorType:
    """Return the error type of a name in the API; raise InvalidRequest for an unknown name."""
    error_type = find_error_type(key)
    if error_type is None:
        raise InvalidRequest(
            f"Unknown error type {key!r:.80}. Expected one of: {', '.join(known.key for known in ERROR_TYPES)}.",
            field=field,
        )
    return error_type


def by_key(values: Mapping[ErrorType, Number]) -> dict[str, Number]:
    """Replace error types by their names in the API."""
    return {error_type.key: value for error_type, value in values.items()}


def from_keys(values: Mapping[str, Number], required: Sequence[ErrorType] = ()) -> dict[ErrorType, Number]:
    """Replace names in the API by error types; raise InvalidRequest for an unknown name or a missing required type."""
    missing = [error_type.key for error_type in required if error_type.key not in values]
    if missing:
        raise InvalidRequest(
            f"The values of {', '.join(missing)} are missing. Include every error type.", field="counts"
        )
    return {error_type_of(key, "counts"): value for key, value in values.items()}


def optional(message: Message, field: str) -> Any:
    """Return the value of a field, or None if it is not set."""
    return getattr(message, field) if message.HasField(field) else None

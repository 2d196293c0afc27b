"""Conversion between values of the API's enumerations and the names that arguments and tables use."""

from collections.abc import Iterable
from typing import Any

from errata.errors import InvalidRequest


def choice(enum: Any, value: str | int, field: str) -> Any:
    """Return the value of an enumeration.

    Args:
        enum: The enumeration, such as `pb.RowOrder`.
        value: A number, which is returned unchecked, or a name such as `file-name`: in any case, with hyphens or
            underscores, with or without the prefix of the enumeration. Empty text means the default.
        field: The argument, for the error message.

    Raises:
        InvalidRequest: If the enumeration has no value of this name.
    """
    if not isinstance(value, str):
        return value
    if not value:
        return 0
    prefix = _prefix(enum)
    name = value.upper().replace("-", "_").removeprefix(prefix).lower()
    if name not in enum_names(enum):
        raise InvalidRequest(
            f"Unknown {field} {value!r:.80}. Expected one of: {', '.join(enum_names(enum))}.", field=field
        )
    return enum.Value(f"{prefix}{name.upper()}")


def choices(enum: Any, values: str | int | Iterable[str | int], field: str) -> list[Any]:
    """Convert one or several names or values to values of an enumeration; see `choice`."""
    if isinstance(values, str | int):
        values = [values]
    return [choice(enum, value, field) for value in values]


def enum_names(enum: Any) -> list[str]:
    """Return the names of all values of an enumeration except the unspecified one, in the form of `enum_name`."""
    return [enum_name(enum, value) for value in enum.values()[1:]]


def enum_name(enum: Any, value: int) -> str:
    """Return the name of a value in lowercase and without the prefix, such as `file_name`.

    A value that only newer services know has the name `unknown_` followed by its number.
    """
    return str(enum.Name(value).removeprefix(_prefix(enum)).lower()) if value in enum.values() else f"unknown_{value}"


def _prefix(enum: Any) -> str:
    """Return the prefix of the names in the proto, such as `ROW_ORDER_` if value 0 is `ROW_ORDER_UNSPECIFIED`."""
    return str(enum.Name(0).removesuffix("UNSPECIFIED"))

"""The changes of images between two analyses: fixed, broken, or from one error type to another one."""

from collections.abc import Sequence

from errata.error_types import find_error_type
from errata.errors import InvalidRequest

from service.domain import (
    BROKEN,
    CORRECT_TYPES,
    ERROR_TYPES,
    FIXED,
    MULTI_LABEL_ERROR_TYPES,
    Bytes,
    ErrorType,
    Mask,
    is_among,
)

_CHANGES = {FIXED: (MULTI_LABEL_ERROR_TYPES, CORRECT_TYPES), BROKEN: (CORRECT_TYPES, MULTI_LABEL_ERROR_TYPES)}


def parse_change(text: str) -> tuple[Sequence[ErrorType], Sequence[ErrorType]]:
    """Return the error types before and after a change.

    Args:
        text: `fixed`, `broken`, or FROM:TO with names of error types.

    Raises:
        InvalidRequest: The text has another form.
    """
    if text in _CHANGES:
        return _CHANGES[text]
    before, _, after = text.partition(":")
    types = find_error_type(before), find_error_type(after)
    if types[0] is None or types[1] is None:
        keys = ", ".join(error_type.key for error_type in ERROR_TYPES)
        raise InvalidRequest(
            f"Unknown change {text!r:.80}. Expected 'fixed', 'broken', or FROM:TO with error types: {keys}.",
            field="change",
        )
    return (types[0],), (types[1],)


def change_mask(change: str, before: Bytes, after: Bytes) -> Mask:
    """Return the images with a change, (N,); `before` and `after` have the IDs of their error types, (N,)."""
    types_before, types_after = parse_change(change)
    return is_among(before, types_before) & is_among(after, types_after)

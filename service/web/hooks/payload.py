"""Access to fields of registry payloads."""

from collections.abc import Mapping
from typing import Any

MAX_TEXT = 5000  # characters of a value that is received or sent


class InvalidEvent(ValueError):
    """Raised if an event is invalid. Its message is sent to the registry: the problem, the value, and the remedy."""


def text(data: Mapping[str, Any], name: str) -> str:
    """Return a required text field.

    Args:
        data: The payload, or a part of it.
        name: Name of the field.

    Returns:
        The text, 1 to MAX_TEXT characters.

    Raises:
        KeyError: The field is missing.
        InvalidEvent: The field has another type or length.
    """
    value = data[name]
    if not isinstance(value, str):
        raise InvalidEvent(f"Field '{name}' must be text, got {type(value).__name__}. Send text.")
    if not value:
        raise InvalidEvent(f"Field '{name}' is empty. Send 1 to {MAX_TEXT:,} characters.")
    if len(value) > MAX_TEXT:
        raise InvalidEvent(f"Field '{name}' has {len(value):,} characters. Send at most {MAX_TEXT:,}.")
    return value

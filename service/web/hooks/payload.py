"""Access to fields of registry payloads."""

import json
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
    value = any_text(data, name)
    if not value:
        raise InvalidEvent(f"Field '{name}' is empty. Send 1 to {MAX_TEXT:,} characters.")
    if len(value) > MAX_TEXT:
        raise InvalidEvent(f"Field '{name}' has {len(value):,} characters. Send at most {MAX_TEXT:,}.")
    return value


def any_text(data: Mapping[str, Any], name: str) -> str:
    """Return a required text field of any length; raise KeyError or InvalidEvent as `text` does."""
    value = data[name]
    if not isinstance(value, str):
        raise wrong_type(name, "text", value)
    return value


def section(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a required object.

    Raises:
        KeyError: The field is missing.
        InvalidEvent: The field is not an object.
    """
    value = data[name]
    if not isinstance(value, dict):
        raise wrong_type(name, "an object", value)
    return value


def wrong_type(name: str, expected: str, value: object) -> InvalidEvent:
    """Return the error for a field whose value is not of the expected type."""
    return InvalidEvent(f"Field '{name}' must be {expected}, got {json.dumps(value):.40}. Send {expected}.")

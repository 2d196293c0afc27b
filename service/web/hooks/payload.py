"""Access to fields of registry payloads."""

from collections.abc import Mapping
from typing import Any

MAX_TEXT = 5000  # characters


def text(data: Mapping[str, Any], name: str) -> str:
    """Return a required text field.

    Args:
        data: The payload, or a part of it.
        name: Name of the field.

    Returns:
        The text, 1 to MAX_TEXT characters.

    Raises:
        KeyError: The field is missing.
        TypeError: The field has another type or length.
    """
    value = data[name]
    if not isinstance(value, str) or not value or len(value) > MAX_TEXT:
        raise TypeError(f"Field '{name}' must be text of 1 to {MAX_TEXT} characters, got {type(value).__name__}.")
    return value

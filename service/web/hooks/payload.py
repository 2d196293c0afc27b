"""What registries' payloads have in common."""

from collections.abc import Mapping
from typing import Any

MAX_TEXT = 5000  # characters


def text(data: Mapping[str, Any], name: str) -> str:
    """Return a field that must be there, and be text; raise KeyError or TypeError that names it."""
    result = data[name]
    if not isinstance(result, str) or not result or len(result) > MAX_TEXT:
        raise TypeError(f"expected 1 to {MAX_TEXT} characters of text as {name}, got {type(result).__name__}")
    return result

"""What registries' payloads have in common."""

from collections.abc import Mapping
from typing import Any

MAX_TEXT = 5000  # characters


def text(data: Mapping[str, Any], name: str) -> str:
    """Return a field that must be there, and be text; raise KeyError or TypeError that names it."""
    found = data[name]
    if not isinstance(found, str) or not found or len(found) > MAX_TEXT:
        raise TypeError(f"expected 1 to {MAX_TEXT} characters of text as {name}, got {type(found).__name__}")
    return found

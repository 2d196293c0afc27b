"""Parse untrusted JSON: text that cannot be parsed raises ValueError, however deep it is nested."""

import json
from collections.abc import Callable
from typing import Any

MAX_DEPTH = 100  # nested arrays and objects; the limit of protobuf's JSON parser
PairsHook = Callable[[list[tuple[str, Any]]], Any]


def parse_json(
    text: str | bytes,
    object_pairs_hook: PairsHook | None = None,
    parse_constant: Callable[[str], Any] | None = None,
) -> Any:
    """Parse a JSON text.

    The depth is limited because Python can parse values that are too deep to print or copy.

    Args:
        text: JSON text; bytes in UTF-8, UTF-16 or UTF-32.
        object_pairs_hook: Creates the value of an object, as in `json.loads`.
        parse_constant: Creates the value of `NaN`, `Infinity`, or `-Infinity`, as in `json.loads`.

    Returns:
        The parsed value.

    Raises:
        ValueError: If the text is not JSON, or if its depth exceeds MAX_DEPTH.
    """
    try:
        value = json.loads(text, object_pairs_hook=object_pairs_hook, parse_constant=parse_constant)
    except RecursionError:
        raise ValueError(f"JSON nested more than {MAX_DEPTH} levels deep") from None
    if _depth_exceeds(value, MAX_DEPTH):
        raise ValueError(f"JSON nested more than {MAX_DEPTH} levels deep")
    return value


def _depth_exceeds(value: Any, levels: int) -> bool:
    """Return whether arrays and objects are nested deeper than `levels`. Does not recurse."""
    containers = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        if not containers:
            return False
        containers = [
            child
            for container in containers
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, dict | list)
        ]
    return bool(containers)

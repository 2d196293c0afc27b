"""JSON from outside: every text that is not usable is a ValueError, however deeply it is nested."""

import json
from collections.abc import Callable
from typing import Any

MAX_DEPTH = 100  # of arrays and objects within each other; as protobuf's JSON parser
Pairs = Callable[[list[tuple[str, Any]]], Any]


def parse_json(text: str | bytes, object_pairs_hook: Pairs | None = None) -> Any:
    """Return the value of a JSON text.

    A value that Python can just parse may be too deep to be shown or copied, so the depth has a bound of its own.

    Args:
        text: The text; bytes are UTF-8, UTF-16 or UTF-32.
        object_pairs_hook: Makes the value of an object, as for `json.loads`.

    Raises:
        ValueError: If the text is not JSON, or is nested more deeply than MAX_DEPTH.
    """
    try:
        value = json.loads(text, object_pairs_hook=object_pairs_hook)
    except RecursionError:
        raise ValueError(f"JSON nested more than {MAX_DEPTH} levels deep") from None
    if _depth_exceeds(value, MAX_DEPTH):
        raise ValueError(f"JSON nested more than {MAX_DEPTH} levels deep")
    return value


def _depth_exceeds(value: Any, levels: int) -> bool:
    """Return whether arrays and objects are nested deeper than some levels; without recursion."""
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

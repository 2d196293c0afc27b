"""Strategies for JSON values, with extreme ones."""

from typing import Any

from hypothesis import strategies as st

NUMBERS = (
    st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 2**31, 2**63, 2**64, 1e308, -1, -0.0, 0.5])
)
ANY_TEXT = st.text(max_size=12) | st.sampled_from(["\ud800", "\udcff", "\0", "a" * 6000, "NaN", "1970-01-01", "²"])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)


def nested(depth: int, within: type) -> Any:
    """Return lists or objects nested to a depth."""
    value: Any = None
    for _ in range(depth):
        value = [value] if within is list else {"a": value}
    return value


@st.composite
def changed(draw: st.DrawFn, document: Any, max_changes: int = 3) -> Any:
    """Return a JSON value with parts changed, removed, or added."""
    document = _copied(document)
    for _ in range(draw(st.integers(1, max_changes))):
        places = list(_places(document))
        if not places:
            return draw(JSON)
        holder, key = draw(st.sampled_from(places))
        change = draw(st.sampled_from(["set", "set", "drop", "add", "swap", "nest"]))
        if change == "drop":
            del holder[key]
        elif change == "add" and isinstance(holder, dict):
            holder[draw(ANY_TEXT)] = draw(JSON)
        elif change == "swap":
            other, other_key = draw(st.sampled_from(places))
            if other_key in other if isinstance(other, dict) else other_key < len(other):
                holder[key] = _copied(other[other_key])
        elif change == "nest":
            holder[key] = nested(draw(st.sampled_from([1, 50, 500, 900])), draw(st.sampled_from([list, dict])))
        else:
            holder[key] = draw(JSON)
    return document


def _places(value: Any, depth: int = 0) -> "list[tuple[Any, Any]]":
    result: list[tuple[Any, Any]] = []
    if depth < 20 and isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            result += [(value, key), *_places(value[key], depth + 1)]
    return result


def _copied(value: Any, depth: int = 0) -> Any:
    if depth < 20 and isinstance(value, dict):
        return {key: _copied(item, depth + 1) for key, item in value.items()}
    if depth < 20 and isinstance(value, list):
        return [_copied(item, depth + 1) for item in value]
    return value

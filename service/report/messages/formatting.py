"""Formats of changes and gains, which only the report uses; `errata.messages` has all other formats."""

from errata.messages import MISSING, format_change, format_p_value, format_points, format_range

from service.domain import Interval


def describe_p_value(value: float, alpha: float | None = None) -> str:
    """Format a p-value in a sentence, for example "p < 0.001" or "p = 0.20"; `alpha` as in `format_p_value`."""
    text = format_p_value(value, alpha)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def describe_change(interval: Interval) -> str:
    """Describe the change from A to B in percentage points with its confidence interval."""
    return f"{format_change(interval)} points ({format_range(interval)})"


def format_gain(value: float | None) -> str:
    """Format an accuracy gain, a fraction of 1, in percentage points. None: it is undefined."""
    return MISSING if value is None else format_points(value)


def capitalize(text: str) -> str:
    """Return a text with a capital first letter and unchanged other letters."""
    return text[:1].upper() + text[1:]

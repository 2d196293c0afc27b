"""Formats of p-values, intervals, gains, and durations. Formats of counts and percentages: `errata.messages`."""

from errata.messages import MISSING, format_points

from service.domain import Interval


def format_p_value(value: float) -> str:
    """Format a p-value, for example "p < 0.001" or "p = 0.20"."""
    if value < 0.001:
        return "p < 0.001"
    return f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"


def format_range(interval: Interval) -> str:
    """Format the confidence interval of the change from A to B in percentage points."""
    return f"{format_points(-interval.high)} to {format_points(-interval.low)}"


def format_change(interval: Interval) -> str:
    """Format the change from A to B in percentage points with its confidence interval."""
    return f"{format_points(-interval.difference)} points ({format_range(interval)})"


def format_gain(value: float | None) -> str:
    """Format an accuracy gain, a fraction of 1, in percentage points. None: the rule was not evaluated."""
    return MISSING if value is None else format_points(value)


def format_duration(seconds: float) -> str:
    """Format a duration, for example "89 s", "12 min", or "7 h 5 min"."""
    if round(seconds) < 90:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def capitalize(text: str) -> str:
    """Return a text with a capital first letter and unchanged other letters."""
    return text[:1].upper() + text[1:]

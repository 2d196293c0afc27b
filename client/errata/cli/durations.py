"""Durations on the command line, such as 90s, 30m, or 1h30m."""

import re

from errata.errors import InvalidRequest

_DURATION = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s?)?", re.ASCII)


def parse_duration(text: str, option: str) -> float:
    """Return the seconds of `90`, `90s`, `30m`, or `1h30m`.

    Args:
        text: The duration.
        option: The option with this value, for the error.

    Raises:
        InvalidRequest: The text is not a duration.
    """
    match = _DURATION.fullmatch(text.strip())
    if not text.strip() or match is None:
        raise InvalidRequest(f"Invalid duration {text!r:.40}. Use a duration such as 90s, 30m, or 1h30m.", field=option)
    hours, minutes, seconds = (int(group or 0) for group in match.groups())
    return float(hours * 3600 + minutes * 60 + seconds)

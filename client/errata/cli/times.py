"""Times in options."""

from datetime import UTC, datetime
from typing import Any

import click


class Time(click.DateTime):
    """A date or an RFC 3339 time, as a time in UTC; without a zone, it is in UTC."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a time; fail for text of another form."""
        try:
            time = datetime.fromisoformat(value)
            return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r:.80}. Expected a time such as 2026-01-31 or 2026-01-31T23:59:59.", param, ctx)

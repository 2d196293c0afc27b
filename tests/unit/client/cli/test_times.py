"""Times in options: dates, and times with or without a zone."""

from datetime import UTC, datetime

import click
import pytest
from errata.cli.times import Time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T23:59:59", datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)),
        ("2026-01-31T23:59:59Z", datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)),
        ("2026-01-31T23:59:59.123456Z", datetime(2026, 1, 31, 23, 59, 59, 123456, tzinfo=UTC)),
        ("2026-02-01T01:59:59+02:00", datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_time_is_a_date_or_an_rfc_3339_time_and_in_utc_without_a_zone(text: str, expected: datetime) -> None:
    assert Time().convert(text, None, None) == expected


@pytest.mark.parametrize("text", ["yesterday", "", "2026-02-30", "2026-01-31T25:00:00", "0001-01-01T00:00:00+02:00"])
def test_a_text_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="Expected a time such as 2026-01-31 or 2026-01-31T23:59:59"):
        Time().convert(text, None, None)

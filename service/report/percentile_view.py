"""The percentiles of an analysis among reference models as records for the template."""

from collections.abc import Sequence
from dataclasses import dataclass

from errata.messages import (
    METRIC_NAMES,
    format_percentage,
)

from service.domain import (
    PercentileRank,
)
from service.report.messages.trend import percentile_text


@dataclass(frozen=True)
class PercentileRow:
    """The percentile of one metric among reference models of similar accuracy."""

    metric: str
    value: str
    percentile: str


def percentile_rows(ranks: Sequence[PercentileRank]) -> tuple[PercentileRow, ...]:
    """Convert percentiles for display."""
    return tuple(
        PercentileRow(METRIC_NAMES[rank.metric], format_percentage(rank.value), percentile_text(rank)) for rank in ranks
    )

"""The percentiles of an analysis among reference models as records for the template."""

from collections.abc import Sequence
from dataclasses import dataclass

from errata.messages import METRIC_NAMES, format_percentage

from service.domain import PercentileRank
from service.report.messages.trend import percentile_interval, percentile_number, percentile_text, portion_name


@dataclass(frozen=True)
class PercentileRow:
    """The percentile of one metric among reference models of similar accuracy."""

    metric: str
    value: str
    portion_of: str  # what the value is a portion of; empty for an accuracy
    percentile: str
    interval: str  # 95 % interval of the percentile
    comparison: str  # sentence about the percentile, or the reason why there is none


def percentile_rows(ranks: Sequence[PercentileRank], has_rejected_targets: bool = False) -> tuple[PercentileRow, ...]:
    """Convert percentiles for display."""
    return tuple(
        PercentileRow(
            METRIC_NAMES[rank.metric],
            format_percentage(rank.value),
            portion_name(rank.metric, has_rejected_targets),
            percentile_number(rank),
            percentile_interval(rank),
            percentile_text(rank),
        )
        for rank in ranks
    )

"""The calibration of a model as records for the template."""

from collections.abc import Mapping
from dataclasses import dataclass

from errata.messages import (
    format_count,
    format_percentage,
)

from service.domain import (
    Calibration,
    ErrorType,
)
from service.report import charts
from service.report.elements import Chart, css_class, make_chart
from service.report.messages.error_types import (
    CALIBRATION_DOTS,
    CALIBRATION_TITLES,
    calibration_summary,
)


@dataclass(frozen=True)
class BinRow:
    """One bin of the calibration."""

    confidence: str
    samples: str
    mean: str
    top1: str
    multi_label: str


@dataclass(frozen=True)
class ConfidenceRow:
    """The confidence in the predictions of one error type."""

    title: str
    css_class: str
    samples: str
    quartiles: tuple[str, str, str]


@dataclass(frozen=True)
class CalibrationView:
    """The calibration of the model."""

    summary: str
    chart: Chart
    bins: tuple[BinRow, ...]
    by_type: tuple[ConfidenceRow, ...]


def calibration_view(
    calibration: Calibration, confidence: Mapping[ErrorType, tuple[int, float, float, float]]
) -> CalibrationView:
    """Convert a calibration and the confidence by error type for display."""
    summary = f"{calibration_summary(calibration.top1_error, calibration.multi_label_error)} {CALIBRATION_DOTS}"
    return CalibrationView(
        summary=summary,
        chart=make_chart(charts.reliability(calibration, CALIBRATION_TITLES), summary),
        bins=tuple(
            BinRow(
                f"{format_percentage(bin_.low)} to {format_percentage(bin_.high)}",
                format_count(bin_.num_samples),
                format_percentage(bin_.confidence),
                format_percentage(bin_.top1_accuracy),
                format_percentage(bin_.multi_label_accuracy),
            )
            for bin_ in calibration.bins
        ),
        by_type=tuple(
            ConfidenceRow(
                error_type.title,
                css_class(error_type),
                format_count(count),
                (format_percentage(first), format_percentage(median), format_percentage(third)),
            )
            for error_type, (count, first, median, third) in confidence.items()
        ),
    )

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
from service.report.image_links import ImageLinks
from service.report.messages.error_types import (
    CALIBRATION_DOTS,
    CALIBRATION_LINKS,
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
    url: str = ""  # of the images from the lower bound on; empty: there are none, or no page


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
    calibration: Calibration, confidence: Mapping[ErrorType, tuple[int, float, float, float]], links: ImageLinks
) -> CalibrationView:
    """Convert a calibration and the confidence by error type for display.

    Only a report on the site has links: the error table of a file has no correct predictions.
    """
    summary = f"{calibration_summary(calibration.top1_error, calibration.multi_label_error)} {CALIBRATION_DOTS}"
    if links.analysis:
        summary += f" {CALIBRATION_LINKS}"
    urls = [
        links.images(min_confidence=bin_.low, sort="confidence") if links.analysis and bin_.num_samples else ""
        for bin_ in calibration.bins
    ]
    return CalibrationView(
        summary=summary,
        chart=make_chart(charts.reliability(calibration, CALIBRATION_TITLES, urls), summary),
        bins=tuple(
            BinRow(
                f"{format_percentage(bin_.low)} to {format_percentage(bin_.high)}",
                format_count(bin_.num_samples),
                format_percentage(bin_.confidence),
                format_percentage(bin_.top1_accuracy),
                format_percentage(bin_.multi_label_accuracy),
                url,
            )
            for bin_, url in zip(calibration.bins, urls, strict=True)
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

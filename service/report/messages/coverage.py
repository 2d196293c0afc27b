"""Texts about the coverage of analyses."""

from collections.abc import Sequence

from errata.messages import (
    compared_coverage_text,
    coverage_note,
    coverage_share,
    coverage_text,
    format_count,
    list_names,
)

from service.domain import Analysis, Coverage, coverage_of

MAX_NAMED = 5  # models in a note
COVERAGE_NOTE = "Share of the images to evaluate that have a prediction. All statistics are those of these images."


def describe_coverage(coverage: Coverage, decimals: int = 1) -> str:
    """Describe a coverage, for example "49,000 of 50,000 images (98.0 %)"."""
    return coverage_text(coverage.num_covered, coverage.num_expected, coverage.num_judged, decimals)


def partial_coverage(analysis: Analysis) -> str:
    """Return the coverage of an analysis that does not cover all evaluated images; empty for any other analysis."""
    counts = _partial_counts(analysis)
    return coverage_share(*counts) if counts else ""


def partial_coverage_note(analysis: Analysis) -> str:
    """Return a sentence with the coverage if an analysis does not cover all evaluated images; empty for any other."""
    counts = _partial_counts(analysis)
    return coverage_note(*counts) if counts else ""


def _partial_counts(analysis: Analysis) -> tuple[int, int, int | None] | None:
    """Return the numbers of a coverage as `coverage_text` expects them; None if it is complete or unknown."""
    coverage = coverage_of(analysis.summary, analysis.subset) if analysis.summary else None
    if coverage is None or coverage.is_complete:
        return None
    return coverage.num_covered, coverage.num_expected, coverage.num_judged


def compared_coverage_note(a: Coverage | None, b: Coverage | None, num_samples: int) -> str:
    """Describe the coverage of two compared analyses; empty if both cover all evaluated images."""
    if all(coverage is None or coverage.is_complete for coverage in (a, b)):
        return ""
    return compared_coverage_text([describe_coverage(coverage) if coverage else "" for coverage in (a, b)], num_samples)


def partial_models_note(titles: Sequence[str]) -> str:
    """Return which models of a trend do not cover all evaluated images, in sentences."""
    shown = list_names([f"“{title}”" for title in titles[:MAX_NAMED]])
    more = f", and {format_count(len(titles) - MAX_NAMED)} more" if len(titles) > MAX_NAMED else ""
    return f"These models do not cover all images. Their values refer only to the covered images: {shown}{more}."

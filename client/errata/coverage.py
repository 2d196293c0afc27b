"""The coverage of an analysis: how many of the images that it should cover have a prediction."""

from collections.abc import Sequence

from errata import v1 as pb
from errata.groups import ALL
from errata.messages import compared_coverage_text, coverage_note, coverage_share, coverage_text


def coverage_counts(analysis: pb.Analysis) -> tuple[int, int, int | None] | None:
    """Return the coverage of an analysis.

    Returns:
        The number of images with a prediction, the number of images that the analysis should cover, and the number of
        evaluated images of the data set. The last number is None if the analysis should cover the whole data set. None
        instead of the three numbers means that the coverage is unknown. Analyses of early versions do not count
        evaluated images, so their coverage is known only if each image of the data set has a prediction.
    """
    summary = analysis.summary
    if not summary.HasField("num_judged"):
        is_complete = summary.num_images > 0 and summary.num_predicted == summary.num_images
        return (summary.num_predicted, summary.num_images, None) if is_complete else None
    covered = summary.groups[ALL].num_samples + summary.num_problematic if ALL in summary.groups else 0
    if not analysis.HasField("subset"):
        return (covered, summary.num_judged, None) if summary.num_judged else None
    return (covered, analysis.subset.num_judged, summary.num_judged) if analysis.subset.num_judged else None


def describe_coverage(analysis: pb.Analysis) -> str:
    """Describe the coverage of an analysis, for example "49,000 of 50,000 images (98.0 %)"; empty if it is unknown."""
    counts = coverage_counts(analysis)
    return "" if counts is None else coverage_text(*counts)


def partial_coverage(analysis: pb.Analysis) -> str:
    """Return the coverage, such as "98.0 %"; empty if it is unknown, or if all evaluated images are covered."""
    counts = coverage_counts(analysis)
    if counts is None or (counts[2] is None and counts[0] == counts[1]):
        return ""
    return coverage_share(*counts)


def partial_coverage_note(analysis: pb.Analysis) -> str:
    """Return a sentence with the coverage; empty if it is unknown, or if all evaluated images are covered."""
    counts = coverage_counts(analysis)
    return coverage_note(*counts) if counts is not None and partial_coverage(analysis) else ""


def compared_coverage_note(analyses: Sequence[pb.Analysis], num_samples: int) -> str:
    """Describe the coverage of two compared analyses; empty unless at least one is known to be partial."""
    if not any(map(partial_coverage, analyses)):
        return ""
    return compared_coverage_text([*map(describe_coverage, analyses)], num_samples)

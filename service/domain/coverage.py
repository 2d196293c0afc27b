"""The coverage of an analysis: the share of its expected images that have a prediction."""

from dataclasses import dataclass

from service.domain.analysis import Analysis, Subset, Summary


@dataclass(frozen=True)
class Coverage:
    """The number of evaluated images that an analysis should cover, and how many of these have a prediction."""

    num_covered: int
    num_expected: int  # at least 1
    num_judged: int | None = None  # evaluated images of the data set; None: the analysis should cover all of them

    @property
    def share(self) -> float:
        """Return the share of the expected images that have a prediction."""
        return self.num_covered / self.num_expected

    @property
    def share_of_dataset(self) -> float:
        """Return the share of the evaluated images of the data set that have a prediction."""
        return self.num_covered / (self.num_judged or self.num_expected)

    @property
    def is_complete(self) -> bool:
        """Return whether all evaluated images of the data set have a prediction."""
        return self.num_judged is None and self.num_covered == self.num_expected


def coverage_of(summary: Summary, subset: Subset | None = None) -> Coverage | None:
    """Return the coverage of an analysis; None if no image is evaluated, or if the coverage is unknown.

    Early versions of Errata did not store the number of evaluated images in summaries. For these summaries, the
    coverage is known only if all images of the data set have a prediction.
    """
    if summary.num_judged is None:
        is_complete = summary.num_images > 0 and summary.num_predicted == summary.num_images
        return Coverage(summary.num_predicted, summary.num_images) if is_complete else None
    expected = summary.num_judged if subset is None else subset.num_judged
    if not expected:
        return None
    return Coverage(summary.num_covered, expected, None if subset is None else summary.num_judged)


def dataset_share(analysis: Analysis) -> float | None:
    """Return the share of the evaluated images of the data set that have a prediction; None if the share is unknown."""
    coverage = coverage_of(analysis.summary, analysis.subset) if analysis.summary else None
    return None if coverage is None else coverage.share_of_dataset

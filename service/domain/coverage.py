"""The coverage of an analysis: the share of the images that it should cover that have a prediction."""

from dataclasses import dataclass

from service.domain.analysis import Analysis, Subset, Summary


@dataclass(frozen=True)
class Coverage:
    """Evaluated images that an analysis should cover, and those of them that have a prediction."""

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
    """Return the coverage of an analysis; None if nothing is evaluated, or if it is unknown.

    A summary of an early version does not count the images that its bundle evaluates. Its coverage is known only if all
    images of the data set have a prediction.
    """
    if summary.num_judged is None:
        is_complete = summary.num_images > 0 and summary.num_predicted == summary.num_images
        return Coverage(summary.num_predicted, summary.num_images) if is_complete else None
    expected = summary.num_judged if subset is None else subset.num_judged
    if not expected:
        return None
    return Coverage(summary.num_covered, expected, None if subset is None else summary.num_judged)


def dataset_share(analysis: Analysis) -> float | None:
    """Return the share of the evaluated images of the data set that have a prediction; None if it is unknown."""
    coverage = coverage_of(analysis.summary, analysis.subset) if analysis.summary else None
    return None if coverage is None else coverage.share_of_dataset

"""Records of a query for the images of an analysis, and of the result."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from errata.error_types import ErrorType
from errata.groups import ALL

PAGE_SIZE = 60
MAX_FACET_VALUES = 20
SORTS = ("severity", "confidence", "class", "models")  # ascending; with the suffix " desc": descending
Value = TypeVar("Value", str, int, ErrorType)


@dataclass(frozen=True)
class ImageQuery:
    """A filter of the images of an analysis, an order, and a page. An image matches if it meets all conditions.

    As in breakdowns, the class of an image is its effective target, and the superclasses of an image are those of this
    class. By default, problematic images do not match.
    """

    analysis: str
    error_type: ErrorType | None = None
    class_id: int | None = None  # effective target
    predicted_id: int | None = None
    superclass: str = ""
    group: str = ALL
    min_confidence: float | None = None  # 0 to 1
    errors_only: bool = False  # only multi-label errors
    problematic: bool | None = False  # None: all images
    baseline: str = ""  # another analysis with the same evidence
    change: str = ""  # from the baseline: `fixed`, `broken`, or FROM:TO with names of error types
    sort: str = "severity desc"
    page: int = 1
    page_size: int = PAGE_SIZE


@dataclass(frozen=True)
class ImageRow:
    """An image of an analysis."""

    file_name: str
    target: int
    effective_target: int  # the first label if the labels reject the target, else the target
    predicted: int
    error_type: ErrorType
    problematic: bool
    probability: float | None  # None: not known
    num_failing: int  # other archived analyses with a multi-label error on the image
    num_predicting: int  # other archived analyses with a prediction for the image
    baseline_predicted: int | None = None  # None: no baseline, or no prediction
    baseline_type: ErrorType | None = None


@dataclass(frozen=True)
class FacetCount(Generic[Value]):
    """A value of a facet, and the number of images that have it and meet all other conditions."""

    value: Value
    count: int


@dataclass(frozen=True)
class Facet(Generic[Value]):
    """The values of a facet: at most MAX_FACET_VALUES with the highest counts, and the selected one.

    Error types and groups keep their usual order. Other values are sorted by descending count.
    """

    counts: Sequence[FacetCount[Value]]
    num_values: int  # all values that have images, including those that are not in `counts`


@dataclass(frozen=True)
class ImageFacets:
    """The facets of a query."""

    error_types: Facet[ErrorType]
    classes: Facet[int]
    predicted: Facet[int]
    superclasses: Facet[str]
    groups: Facet[str]


@dataclass(frozen=True)
class ModelVerdict:
    """The verdict of one analysis on an image."""

    analysis: str
    title: str
    error_type: ErrorType | None  # None: no prediction
    predicted: int  # -1: no prediction
    owner: str = ""  # of the analysis; empty: unknown

    @classmethod
    def of(cls, analysis: str, title: str, type_id: int, predicted: int, owner: str = "") -> "ModelVerdict":
        """Create a verdict from the ID of its error type; 0: no prediction."""
        return cls(analysis, title, ErrorType(type_id) if type_id else None, predicted, owner)

    @property
    def fails(self) -> bool:
        """Return whether the prediction is a multi-label error."""
        return self.error_type is not None and not self.error_type.counts_as_correct


@dataclass(frozen=True)
class Neighbors:
    """The position of an image in the ordered images that match a query, and the images before and after it."""

    position: int  # from 0
    total: int
    previous: str | None
    next: str | None

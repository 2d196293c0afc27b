"""Listings of analyses: filters, orders, and cursors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from errata.enums import State
from errata.error_types import ErrorType
from errata.groups import ALL

from service.domain.analysis import Analysis, GroupSummary
from service.domain.coverage import dataset_share

SortValue = str | int | float
NO_VALUE = -1.0  # sort value of an analysis without a result
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class AnalysisFilter:
    """A filter of analyses: an analysis matches if it meets all conditions that are set."""

    states: frozenset[State] = frozenset()
    dataset: str = ""
    model: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    id_prefix: str = ""
    display_name: str = ""
    evidence: str = ""
    request_id: str = ""
    owner: str = ""
    computation: str = ""
    words: tuple[str, ...] = ()  # lowercase; `searchable_text` contains each of them
    ended_before: datetime | None = None
    evidence_prefix: str = ""
    created_after: datetime | None = None  # at this time or later
    created_before: datetime | None = None

    def matches(self, analysis: Analysis) -> bool:
        """Return whether an analysis meets the conditions."""
        request, title = analysis.request, analysis.title
        expected_texts = (
            (self.dataset, request.dataset),
            (self.model, request.model),
            (self.display_name, title),
            (self.evidence, analysis.evidence),
            (self.request_id, request.request_id),
            (self.owner, analysis.owner),
            (self.computation, analysis.computation),
        )
        return (
            (not self.states or analysis.state in self.states)
            and all(expected in ("", actual) for expected, actual in expected_texts)
            and all(request.labels.get(key) == value for key, value in self.labels.items())
            and analysis.id.startswith(self.id_prefix)
            and _contains(analysis, self.words)
            and (self.ended_before is None or end_of(analysis) < self.ended_before)
            and analysis.evidence.startswith(self.evidence_prefix)
            and (self.created_after is None or analysis.create_time >= self.created_after)
            and (self.created_before is None or analysis.create_time < self.created_before)
        )


@dataclass(frozen=True)
class Cursor:
    """A position in a listing: after the analysis with this sort value and id, whether or not it still exists."""

    value: SortValue
    id: str


@dataclass(frozen=True)
class AnalysisPage:
    """A page of a listing."""

    analyses: Sequence[Analysis]
    next: Cursor | None  # None: this is the last page
    is_incomplete: bool  # whether analyses can be missing: the index is incomplete, or the job store is unavailable


@dataclass(frozen=True)
class GroupNumbers:
    """The numbers of one group, as an index stores them."""

    counts: Mapping[ErrorType, int]
    multi_label_accuracy: float | None  # None: no samples

    @classmethod
    def of(cls, summary: GroupSummary) -> "GroupNumbers":
        """Return the numbers of a group's summary."""
        return cls(summary.counts, summary.multi_label_accuracy)


@dataclass(frozen=True)
class StoredResult:
    """The numbers of one analysis for all samples and for one group, as an index stores them."""

    id: str
    title: str
    labels: Mapping[str, str]
    architecture: str  # empty: unknown
    predictions_digest: str
    model: tuple[str, str]  # model and version; the model is empty for an upload without labels
    abstained: tuple[ErrorType, ...]
    top1_accuracy: float | None  # of all samples
    overall: GroupNumbers
    group: GroupNumbers
    owner: str = ""
    coverage: float | None = None  # share of the evaluated images that have a prediction; None: unknown
    create_time: int = 0  # microseconds since 1970

    @classmethod
    def of(cls, analysis: Analysis, group: str) -> "StoredResult":
        """Return the numbers of an analysis that has a result."""
        assert analysis.summary is not None, "this is a bug: a succeeded analysis has a summary"
        groups = analysis.summary.groups
        return cls(
            analysis.id,
            analysis.title,
            analysis.request.labels,
            analysis.model_info.architecture if analysis.model_info else "",
            analysis.predictions_digest,
            version_key(analysis),
            analysis.summary.abstained,
            groups[ALL].top1_accuracy,
            GroupNumbers.of(groups[ALL]),
            GroupNumbers.of(groups[group]),
            analysis.owner,
            dataset_share(analysis),
            microseconds(analysis.create_time),
        )

    @property
    def has_rejected_targets(self) -> bool:
        """Return whether the number of top-1 errors is not that of the errors by type: labels reject targets."""
        num_samples = sum(self.overall.counts.values())
        num_correct = self.overall.counts[ErrorType.CORRECT]
        return self.top1_accuracy is not None and round(self.top1_accuracy * num_samples) != num_correct

    @property
    def version(self) -> tuple[str, str]:
        """Return the identity of the model version: from its labels or model ID, or else from its predictions."""
        return self.model if self.model[0] else ("", self.predictions_digest)

    @property
    def time_key(self) -> tuple[int, str]:
        """Return the key that sorts results from the oldest to the newest."""
        return self.create_time, self.id


@dataclass(frozen=True)
class ModelVersion:
    """The newest successful analysis of one version of a model on one data set."""

    model: str
    version: str  # empty: the analysis has no such label
    dataset: str
    id: str


def microseconds(time: datetime) -> int:
    """Return a time in microseconds since 1970."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def end_of(analysis: Analysis) -> datetime:
    """Return the time at which an analysis ended; its creation time if the end is unknown."""
    return analysis.end_time or analysis.create_time


def searchable_text(analysis: Analysis) -> str:
    """Return the text that a search examines: title, model, owner, and labels, in lowercase."""
    request = analysis.request
    labels = (f"{key}={value}" for key, value in request.labels.items())
    text = "\n".join((analysis.title, request.model, analysis.owner, *labels))
    return text.lower().replace("\0", "\N{REPLACEMENT CHARACTER}")  # an index ignores text after a zero byte


def _contains(analysis: Analysis, words: Sequence[str]) -> bool:
    text = searchable_text(analysis) if words else ""
    return all(word in text for word in words)


def version_key(analysis: Analysis) -> tuple[str, str]:
    """Return the model and version: the labels that registries set, or else the model ID and no version."""
    labels = analysis.request.labels
    return labels.get("model") or analysis.request.model, labels.get("version", "")


def _number(analysis: Analysis, value_of: Callable[[GroupSummary], float | None]) -> float:
    """Return a number that is computed over all samples; NO_VALUE if there is none."""
    value = value_of(analysis.summary.groups[ALL]) if analysis.summary else None
    return NO_VALUE if value is None else float(value)


# Functions that return the sort value, by the name of the order. Analyses with equal values are sorted by id.
SORT_VALUES: Mapping[str, Callable[[Analysis], SortValue]] = {
    "create_time": lambda analysis: microseconds(analysis.create_time),
    "display_name": lambda analysis: analysis.title,
    "top1_accuracy": lambda analysis: _number(analysis, lambda group: group.top1_accuracy),
    "multi_label_accuracy": lambda analysis: _number(analysis, lambda group: group.multi_label_accuracy),
    "model_failures": lambda analysis: _number(analysis, lambda group: group.severe_errors),
    "severe_error_rate": lambda analysis: _number(analysis, lambda group: group.severe_error_rate),
}


@dataclass(frozen=True)
class Order:
    """An order of a listing; the default is newest first."""

    name: str = "create_time"  # a key of SORT_VALUES
    is_descending: bool = True

    def __str__(self) -> str:
        """Return the order in the syntax of the API."""
        return f"{self.name} desc" if self.is_descending else self.name

    @property
    def reversed(self) -> "Order":
        """Return the opposite order."""
        return Order(self.name, not self.is_descending)

    def cursor(self, analysis: Analysis) -> Cursor:
        """Return the position after an analysis."""
        return Cursor(SORT_VALUES[self.name](analysis), analysis.id)

    def key(self, analysis: Analysis) -> tuple[SortValue, str]:
        """Return the sort key of an analysis, in ascending order."""
        return (SORT_VALUES[self.name](analysis), analysis.id)

    def is_after(self, analysis: Analysis, cursor: Cursor) -> bool:
        """Return whether an analysis comes after a position."""
        key, position = self.key(analysis), (cursor.value, cursor.id)
        return key < position if self.is_descending else key > position  # type: ignore[operator]


NEWEST_FIRST = Order()
ORDERS = (NEWEST_FIRST, *(Order(name, False) for name in SORT_VALUES), *(Order(name) for name in list(SORT_VALUES)[1:]))

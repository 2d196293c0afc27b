"""The interfaces of the archive of finished analyses and of its index, for use cases."""

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Protocol

from errata.errors import Unavailable

from service.domain import (
    NEWEST_FIRST,
    Analysis,
    AnalysisFilter,
    AuditEvent,
    Cursor,
    ModelVersion,
    Order,
    Predictions,
    StoredResult,
)

PAGE_SIZE = 100  # analyses per query of an iteration


@dataclass(frozen=True)
class Record:
    """An archived analysis with its document."""

    analysis: Analysis
    document: bytes  # JSON as stored, perhaps with fields that this version does not know


class OutcomeUnknown(Unavailable):
    """The archive became unavailable during a write: the analysis may have been stored."""


class Archive(Protocol):
    """Stores finished analyses with their predictions. Thread-safe."""

    def put(
        self, analysis: Analysis, predictions: Predictions, creation: AuditEvent | None = None, *, replaces: bool = True
    ) -> Record:
        """Store an analysis, or replace the one with the same id, and return the stored record.

        Args:
            analysis: The analysis.
            predictions: Its predictions.
            creation: The audit event about the analysis, which is stored with it; None if it is stored already.
            replaces: Whether to replace an analysis with the same id. Otherwise, its record is returned.

        Raises:
            OutcomeUnknown: The archive became unavailable, and the analysis may have been stored.
            Unavailable: The archive cannot be written.
        """
        ...

    def get(self, analysis_id: str) -> Analysis | None:
        """Return an analysis; None if it does not exist."""
        ...

    def predictions(self, analysis_id: str) -> Predictions | None:
        """Return the predictions of an analysis in the order of the data set; None if they do not exist."""
        ...

    def delete(self, analysis_id: str) -> bool:
        """Delete an analysis and its predictions; return whether it existed."""
        ...

    def was_deleted_after(self, analysis_id: str, start: float) -> bool:
        """Return whether this process knows that an analysis was deleted after a time of `time.monotonic`."""
        ...

    def size(self) -> int:
        """Return the size of the archive in bytes."""
        ...


class AnalysisIndex(Protocol):
    """Answers queries of archived analyses without reading the archive. Thread-safe.

    Everything in an index comes from the archive, so an index can be deleted and built again.
    """

    @property
    def is_complete(self) -> bool:
        """Return whether the index has all analyses that the archive had at the last comparison."""
        ...

    @property
    def version(self) -> int:
        """Return a number that grows with each change of the index in this process."""
        ...

    def find(
        self, analysis_filter: AnalysisFilter, order: Order, after: Cursor | None, limit: int
    ) -> Sequence[Analysis]:
        """Return the first analyses that match a filter, starting after a position."""
        ...

    def count(
        self,
        analysis_filter: AnalysisFilter,
        order: Order = NEWEST_FIRST,
        until: Cursor | None = None,
        limit: int | None = None,
    ) -> int:
        """Return the number of analyses that match a filter; if `until` is set, only up to this position in the order.

        Counting may stop at `limit`.
        """
        ...

    def contained(self, analysis_ids: Collection[str]) -> Set[str]:
        """Return the given ids that are in the index."""
        ...

    def num_by_dataset(self) -> Mapping[str, int]:
        """Return the number of analyses of each data set."""
        ...

    def results(self, dataset: str, evidence: str, group: str) -> Sequence[StoredResult]:
        """Return the plausible results of a data set that were judged with this evidence, newest first."""
        ...

    def newest_versions(self) -> Sequence[ModelVersion]:
        """Return the newest successful analysis for each named model, version, and data set; newest first."""
        ...


def iterate_index(
    index: AnalysisIndex, analysis_filter: AnalysisFilter, order: Order = NEWEST_FIRST, page_size: int = PAGE_SIZE
) -> Iterator[Analysis]:
    """Yield the analyses that match a filter. Each page is a query of its own, so the index can change meanwhile."""
    after: Cursor | None = None
    while True:
        page = index.find(analysis_filter, order, after, page_size)
        yield from page
        if len(page) < page_size:
            return
        after = order.cursor(page[-1])

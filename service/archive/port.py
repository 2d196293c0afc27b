"""The ports of the archive of finished analyses, and of its index."""

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Protocol

from service.domain import (
    NEWEST_FIRST,
    Analysis,
    AnalysisFilter,
    Cursor,
    ModelVersion,
    Order,
    Predictions,
    StoredResult,
)


@dataclass(frozen=True)
class Record:
    """An archived analysis with its document."""

    analysis: Analysis
    document: bytes  # JSON, as it is stored; it can have fields that this version does not know


class Archive(Protocol):
    """Stores finished analyses with their predictions. Thread-safe."""

    def put(self, analysis: Analysis, predictions: Predictions) -> Record:
        """Store an analysis, or replace the one with the same id, and return its record.

        Raises:
            Unavailable: The archive cannot be written.
        """
        ...

    def get(self, analysis_id: str) -> Analysis | None:
        """Return an analysis; None if it does not exist."""
        ...

    def predictions(self, analysis_id: str) -> Predictions | None:
        """Return the predictions of an analysis in the order of the data set; None if they do not exist."""
        ...

    def ids(self) -> Set[str]:
        """Return the ids of all analyses, also of damaged ones; the same object while nothing changes."""
        ...

    def records(self, analysis_ids: Collection[str]) -> Iterator[Record]:
        """Yield the records of some analyses; skip those that do not exist or cannot be read."""
        ...

    def delete(self, analysis_id: str) -> bool:
        """Delete an analysis and its predictions; return whether it existed."""
        ...

    def id(self) -> str:
        """Return the random id of the archive, which never changes and distinguishes it from other archives."""
        ...

    def find_id(self) -> str:
        """Return the id of the archive without creating one; empty if it has none yet."""
        ...

    def size(self) -> int:
        """Return the size of the archive in bytes."""
        ...


class AnalysisIndex(Protocol):
    """Answers queries of archived analyses without reading the archive. Thread-safe.

    An index contains nothing that the archive does not have, so it can be deleted and built again.
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
        """Return the first analyses after a position that match a filter."""
        ...

    def count(
        self,
        analysis_filter: AnalysisFilter,
        order: Order = NEWEST_FIRST,
        until: Cursor | None = None,
        limit: int | None = None,
    ) -> int:
        """Return the number of analyses that match a filter; with `until`, of those up to a position of an order.

        With `limit`, more analyses than that may be counted as `limit`.
        """
        ...

    def contained(self, analysis_ids: Collection[str]) -> Set[str]:
        """Return those of some ids that the index has."""
        ...

    def num_by_dataset(self) -> Mapping[str, int]:
        """Return the number of analyses of each data set."""
        ...

    def results(self, dataset: str, evidence: str, group: str) -> Sequence[StoredResult]:
        """Return the results of a data set that were judged with some evidence, newest first."""
        ...

    def newest_versions(self) -> Sequence[ModelVersion]:
        """Return the newest successful analysis of each version of each named model on each data set, newest first."""
        ...

    def ids(self) -> Set[str]:
        """Return the ids of all analyses in the index."""
        ...

    def add(self, records: Sequence[Record]) -> None:
        """Add analyses, or replace those with the same ids."""
        ...

    def remove(self, analysis_ids: Collection[str]) -> None:
        """Remove analyses."""
        ...

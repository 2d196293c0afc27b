"""Isolation of owners: stores that contain only the analyses that the current caller may see.

All use cases read analyses through these stores, so that no call finds an analysis of another owner.
Tasks of the service itself, such as judging, have no caller and see all analyses. Evidence, reviews, and the data sets
are shared by all owners.
"""

from collections.abc import Collection, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import replace

from service.archive.port import AnalysisIndex, Archive, Record
from service.caller import restricted_to, visible_owner
from service.domain import (
    NEWEST_FIRST,
    REGISTRY_OWNER,
    Analysis,
    AnalysisFilter,
    AuditEvent,
    Cursor,
    ModelVersion,
    Order,
    Predictions,
    StoredResult,
)
from service.jobs.base_store import Snapshot
from service.jobs.store import JobStore


def acting_for(archive: Archive, owner: str) -> AbstractContextManager[None]:
    """Return a context in which a task of the service sees only the analyses of an owner, if owners are isolated."""
    return restricted_to(owner if isinstance(archive, GuardedArchive) else None)


def isolated_owner(archive: Archive, analysis: Analysis, caller: str) -> str:
    """Return the owner of a new analysis of the same predictions, if owners are isolated; empty if they are not.

    It is the owner of the analysis or, for an analysis of a registry, the caller.
    """
    if not isinstance(archive, GuardedArchive):
        return ""
    return caller if analysis.owner.startswith(REGISTRY_OWNER) else analysis.owner


def is_visible(owner: str) -> bool:
    """Return whether the current caller may see the analyses of an owner."""
    return visible_owner() in (None, owner)


def is_hidden(jobs: JobStore, archive: Archive, analysis_id: str) -> bool:
    """Return whether an analysis exists that the current caller may not see."""
    # The job store precedes the archive, because a judge archives an analysis before it deletes the record.
    guarded = [store for store in (jobs, archive) if isinstance(store, GuardedJobStore | GuardedArchive)]
    return any(store.hides(analysis_id) for store in guarded)


class GuardedArchive:
    """An archive in which only visible analyses exist. Writes are not restricted."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def put(
        self, analysis: Analysis, predictions: Predictions, creation: AuditEvent | None = None, *, replaces: bool = True
    ) -> Record:
        """Store an analysis with the event about it."""
        return self._archive.put(analysis, predictions, creation, replaces=replaces)

    def get(self, analysis_id: str) -> Analysis | None:
        """Return a visible analysis."""
        analysis = self._archive.get(analysis_id)
        return analysis if analysis is not None and is_visible(analysis.owner) else None

    def predictions(self, analysis_id: str) -> Predictions | None:
        """Return the predictions of a visible analysis."""
        return self._archive.predictions(analysis_id) if self._exists(analysis_id) else None

    def delete(self, analysis_id: str) -> bool:
        """Delete a visible analysis."""
        return self._exists(analysis_id) and self._archive.delete(analysis_id)

    def was_deleted_after(self, analysis_id: str, start: float) -> bool:
        """Return whether this process knows that an analysis of any owner was deleted after a time."""
        return self._archive.was_deleted_after(analysis_id, start)

    def size(self) -> int:
        """Return the size of the whole archive in bytes."""
        return self._archive.size()

    def hides(self, analysis_id: str) -> bool:
        """Return whether an analysis exists that the current caller may not see."""
        analysis = self._archive.get(analysis_id)
        return analysis is not None and not is_visible(analysis.owner)

    def _exists(self, analysis_id: str) -> bool:
        return visible_owner() is None or self.get(analysis_id) is not None


class GuardedIndex:
    """An index in which only visible analyses exist."""

    def __init__(self, index: AnalysisIndex) -> None:
        self._index = index

    @property
    def is_complete(self) -> bool:
        """Return whether the index is complete."""
        return self._index.is_complete

    @property
    def version(self) -> int:
        """Return the version of the whole index."""
        return self._index.version

    def find(
        self, analysis_filter: AnalysisFilter, order: Order, after: Cursor | None, limit: int
    ) -> Sequence[Analysis]:
        """Return the first visible analyses that match a filter."""
        visible = _restrict(analysis_filter)
        return [] if visible is None else self._index.find(visible, order, after, limit)

    def count(
        self,
        analysis_filter: AnalysisFilter,
        order: Order = NEWEST_FIRST,
        until: Cursor | None = None,
        limit: int | None = None,
    ) -> int:
        """Return the number of visible analyses that match a filter."""
        visible = _restrict(analysis_filter)
        return 0 if visible is None else self._index.count(visible, order, until, limit)

    def contained(self, analysis_ids: Collection[str]) -> Set[str]:
        """Return which ids the index has, including those of hidden analyses, which guarded stores do not return."""
        return self._index.contained(analysis_ids)

    def num_by_dataset(self) -> Mapping[str, int]:
        """Return the number of visible analyses of each data set."""
        counts = self._index.num_by_dataset()
        if visible_owner() is None:
            return counts
        own = {dataset: self.count(AnalysisFilter(dataset=dataset)) for dataset in counts}
        return {dataset: number for dataset, number in own.items() if number}

    def results(self, dataset: str, evidence: str, group: str) -> Sequence[StoredResult]:
        """Return the results of visible analyses."""
        return [result for result in self._index.results(dataset, evidence, group) if is_visible(result.owner)]

    def newest_versions(self) -> Sequence[ModelVersion]:
        """Return the newest versions of all models; nothing for a caller that does not see all analyses."""
        return self._index.newest_versions() if visible_owner() is None else []


class GuardedJobStore(JobStore):
    """A view of a job store in which only visible analyses exist."""

    def __init__(self, store: JobStore) -> None:
        super().__init__(store._backend, store.heartbeat_timeout)

    def snapshot(self, analysis_id: str) -> Snapshot | None:
        """Return a visible record with its job."""
        snapshot = super().snapshot(analysis_id)
        return snapshot if snapshot is not None and is_visible(snapshot.record.owner) else None

    def snapshots(self) -> Sequence[Snapshot]:
        """Return all visible records with their jobs."""
        return [snapshot for snapshot in super().snapshots() if is_visible(snapshot.record.owner)]

    def cancel(self, analysis_id: str, reason: str, *, during_archiving: bool = False) -> bool | None:
        """Cancel a visible analysis; return whether it was open, or None while its result is archived."""
        return self._exists(analysis_id) and super().cancel(analysis_id, reason, during_archiving=during_archiving)

    def delete(self, analysis_id: str) -> bool:
        """Delete a visible final record; return whether it existed."""
        return self._exists(analysis_id) and bool(super().delete(analysis_id))

    def hides(self, analysis_id: str) -> bool:
        """Return whether a record exists that the current caller may not see."""
        snapshot = super().snapshot(analysis_id)
        return snapshot is not None and not is_visible(snapshot.record.owner)

    def _exists(self, analysis_id: str) -> bool:
        return visible_owner() is None or self.snapshot(analysis_id) is not None


def _restrict(analysis_filter: AnalysisFilter) -> AnalysisFilter | None:
    """Return a filter that matches only visible analyses; None if none can match."""
    owner = visible_owner()
    if owner is None:
        return analysis_filter
    return replace(analysis_filter, owner=owner) if analysis_filter.owner in ("", owner) else None

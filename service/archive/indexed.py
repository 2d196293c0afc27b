"""An archive with its index: each write and each deletion also changes the index."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Set

import structlog
from errata.errors import Unavailable

from service.archive.archive import FileArchive
from service.archive.index import SqliteIndex
from service.archive.port import Record
from service.domain import Analysis, AuditEvent, Predictions

MAX_CACHED = 256  # number of cached analyses, of about 20 kB each
MAX_DELETED = 10_000  # number of the last deletions to remember
_log = structlog.get_logger()


class IndexedArchive:
    """An archive with an index, and with a cache of the most recently used analyses.

    Args:
        stored: The archive, without a cache.
        index: Its index.
        announce: Called with the id of an analysis that this process has written or deleted.
    """

    def __init__(
        self, stored: FileArchive, index: SqliteIndex, announce: Callable[[str], None] = lambda _: None
    ) -> None:
        self.stored = stored
        self.index = index
        self._announce = announce
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, Analysis] = OrderedDict()
        self._deleted: OrderedDict[str, float] = OrderedDict()  # times by id, oldest first
        self._num_drops = 0  # number of removals from the cache; after each, a concurrent read can be outdated

    def put(
        self, analysis: Analysis, predictions: Predictions, creation: AuditEvent | None = None, *, replaces: bool = True
    ) -> Record:
        """Store an analysis with the event about it, and return the stored record."""
        record = self.stored.put(analysis, predictions, creation, replaces=replaces)
        with self._lock:
            self._remember(record.analysis)
        self.index.add([record])
        self._announce(analysis.id)
        return record

    def get(self, analysis_id: str) -> Analysis | None:
        """Return an analysis; raise NewerRecord if a newer version wrote it."""
        with self._lock:
            if analysis_id in self._cache:
                self._cache.move_to_end(analysis_id)
                return self._cache[analysis_id]
            num_drops = self._num_drops
        analysis = self.stored.get(analysis_id)
        if analysis is not None:
            with self._lock:
                if num_drops == self._num_drops:
                    self._remember(analysis)
        return analysis

    def cached_ids(self) -> Set[str]:
        """Return the ids of the cached analyses. The index can lack some of them."""
        with self._lock:
            return set(self._cache)

    def predictions(self, analysis_id: str) -> Predictions | None:
        """Return the predictions of an analysis."""
        return self.stored.predictions(analysis_id)

    def delete(self, analysis_id: str) -> bool:
        """Delete an analysis."""
        is_deleted = self.stored.delete(analysis_id)
        self.forget([analysis_id])
        self._announce(analysis_id)
        return is_deleted

    def was_deleted_after(self, analysis_id: str, start: float) -> bool:
        """Return whether this process knows that an analysis was deleted after a time of `time.monotonic`."""
        with self._lock:
            return self._deleted.get(analysis_id, 0.0) > start

    def forget(self, analysis_ids: Collection[str]) -> None:
        """Remove analyses from the cache and the index, because they were deleted from the archive."""
        self._drop(analysis_ids)
        with self._lock:
            for analysis_id in analysis_ids:
                self._deleted[analysis_id] = time.monotonic()
                self._deleted.move_to_end(analysis_id)
            while len(self._deleted) > MAX_DELETED:
                self._deleted.popitem(last=False)
        try:
            self.index.remove(analysis_ids)
        except Unavailable as error:
            _log.warning("analyses not removed from the index", count=len(analysis_ids), error=error.message)

    def refresh(self, analysis_id: str) -> None:
        """Update the cache and the index after another process has written or deleted an analysis."""
        self._drop([analysis_id])
        if records := [*self.stored.records([analysis_id])]:
            self.index.add(records)
        else:
            self.forget([analysis_id])

    def size(self) -> int:
        """Return the size of the archive in bytes."""
        return self.stored.size()

    def _remember(self, analysis: Analysis) -> None:
        self._cache[analysis.id] = analysis
        self._cache.move_to_end(analysis.id)
        if len(self._cache) > MAX_CACHED:
            self._cache.popitem(last=False)

    def _drop(self, analysis_ids: Collection[str]) -> None:
        with self._lock:
            self._num_drops += 1
            for analysis_id in analysis_ids:
                self._cache.pop(analysis_id, None)

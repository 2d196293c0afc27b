"""The comparison of an index with the names in its archive. The first comparison builds the index."""

import time
from collections.abc import Callable, Sequence, Set
from itertools import islice
from threading import Event

import structlog
from errata.errors import Unavailable

from service.archive.indexed import IndexedArchive

BATCH = 300  # documents that are read and added in one transaction: about 3 MB of memory
PROGRESS_SECONDS = 5.0  # interval between two log events
_log = structlog.get_logger()


class Comparison:
    """Adds the analyses that an index lacks, and removes those that the archive no longer has.

    Only names are compared, so that each document is read only once, unless it cannot be read. The newest analyses are
    added first.

    Args:
        archive: The archive with the index.
        on_pending: Called with the number of analyses that are still to be added.
    """

    def __init__(self, archive: IndexedArchive, on_pending: Callable[[int], None] = lambda _: None) -> None:
        self._archive = archive
        self._index = archive.index
        self._on_pending = on_pending
        self._unreadable: Set[str] = frozenset()  # ids whose documents could not be read
        self._last_ids: Set[str] | None = None  # the ids in the archive at the last complete comparison
        self._archive_id = ""
        self._is_valid = True  # False if the index lost its content since the comparison began
        self._stopped = Event()
        self.first_ended = Event()

    def __call__(self) -> None:
        """Compare once; raise Unavailable if the archive cannot be read or the index cannot be written."""
        try:
            self._compare()
        except BaseException:
            self._index.mark(is_complete=False)
            raise
        finally:
            self.first_ended.set()

    def restart(self) -> None:
        """Forget the last comparison, because the index lost its content."""
        self._is_valid = False

    def stop(self) -> None:
        """End a comparison in progress after its current batch."""
        self._stopped.set()

    def _compare(self) -> None:
        self._is_valid = True
        self._archive_id = self._archive_id or self._archive.stored.find_id()
        self._index.bind(self._archive_id)
        # Before the archive is listed: an analysis that is added between is not deleted.
        indexed, cached = self._index.ids(), self._archive.cached_ids()
        self._index.forget_removed()
        ids = self._archive.stored.ids()
        if deleted := (indexed | cached) - ids:
            self._check_archive(ids)
            self._archive.forget(sorted(deleted))
        unreadable = self._unreadable = (self._unreadable & ids) - indexed
        self._add(sorted(ids - indexed - unreadable, reverse=True), len(ids))
        if unreadable and ids is not self._last_ids:  # a file has changed, perhaps one of these
            # After a rollback of Errata, many documents of the newer version can stay unreadable.
            self._add(sorted(unreadable, reverse=True)[:BATCH], len(ids))
        if self._is_valid and not self._stopped.is_set():
            self._last_ids = ids
            self._index.mark(is_complete=True)

    def _check_archive(self, ids: Set[str]) -> None:
        """Raise Unavailable if the archive is missing or another one, for example because its volume was unmounted."""
        if self._archive_id:
            is_missing = self._archive.stored.find_id() != self._archive_id
        else:  # archives of `errata serve --local`; the index no longer has the analyses that this process deleted
            is_missing = bool(self._last_ids) and not ids
        if is_missing:
            raise Unavailable(
                "The archive is missing or empty, or another one is in its place. Restore it, or restart the service "
                "to use it as it is. The index keeps its analyses until then."
            )

    def _add(self, missing: Sequence[str], total: int) -> None:
        """Read documents and add them to the index, batch by batch."""
        is_build = len(missing) > BATCH
        if is_build:
            self._index.mark(is_complete=False)
            _log.info("index build started", count=total - len(missing), total=total)
        started = reported = time.monotonic()
        remaining, num_left = iter(missing), len(missing)
        while not self._stopped.is_set() and (batch := [*islice(remaining, BATCH)]):
            self._on_pending(num_left)
            records = [*self._archive.stored.records(batch)]
            self._index.add_missing(records)
            self._unreadable = (self._unreadable | set(batch)) - {record.analysis.id for record in records}
            num_left -= len(batch)
            if time.monotonic() - reported >= PROGRESS_SECONDS:
                reported = time.monotonic()
                _log.info("index build in progress", count=total - num_left, total=total)
        self._on_pending(num_left)
        if is_build and not num_left:
            _log.info("index build ended", count=total, total=total, seconds=round(time.monotonic() - started, 3))

"""Delete expired analyses from the archive."""

from datetime import timedelta

import structlog
from errata.errors import Unavailable

from service.analyses.audit import record_change
from service.analyses.ports import Stores
from service.archive.port import iterate_index
from service.domain import NEWEST_FIRST, RETENTION, AnalysisFilter, AuditAction

MAX_CONSECUTIVE_FAILURES = 100  # after so many, the archive counts as unavailable
_log = structlog.get_logger()


def delete_expired(stores: Stores, retention: timedelta, recorded: set[str]) -> int:
    """Delete the archived analyses that ended before the retention period; return how many.

    As in `lifecycle.delete`, the audit event is stored first, so that no analysis disappears without an event. If an
    event or a deletion fails, the others continue, and a later call deletes the analysis.

    Args:
        stores: The stores.
        retention: The retention period.
        recorded: The analyses that an earlier call did not delete after their event was stored, which get no further
            event. The function updates the set.

    Raises:
        Unavailable: The index cannot be read, or the archive is unavailable.
    """
    conditions = AnalysisFilter(ended_before=stores.clock() - retention)
    num_deleted, num_failed, num_consecutive, expired = 0, 0, 0, set[str]()
    try:
        for analysis in iterate_index(stores.index, conditions, NEWEST_FIRST.reversed):
            expired.add(analysis.id)
            try:
                if analysis.id not in recorded:
                    details = {"create_time": analysis.create_time.isoformat()}
                    record_change(stores, AuditAction.DELETE, analysis, details, actor=RETENTION, required=True)
                    recorded.add(analysis.id)
                stores.archive.delete(analysis.id)
            except Exception as error:
                num_failed, num_consecutive = num_failed + 1, num_consecutive + 1
                _log.warning("expired analysis not deleted", analysis=analysis.id, error=repr(error)[:500])
                if num_consecutive == MAX_CONSECUTIVE_FAILURES:
                    raise Unavailable(f"The archive refused {num_consecutive} deletions in a row.") from error
                continue
            recorded.remove(analysis.id)
            num_deleted, num_consecutive = num_deleted + 1, 0
            try:
                stores.jobs.release_ids(analysis.request.request_id, analysis.id)
            except Unavailable as error:
                _log.warning("request ID not released: job store unavailable", error=str(error))
        if stores.index.is_complete:
            recorded &= expired  # an analysis that is gone, and is restored from a backup, gets an event again
    finally:
        if num_deleted or num_failed:
            _log.info("expired analyses deleted", count=num_deleted, failed=num_failed)
    return num_deleted

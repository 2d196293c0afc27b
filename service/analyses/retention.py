"""Delete expired analyses from the archive."""

from datetime import timedelta

import structlog
from errata.errors import Unavailable

from service.analyses.audit import record_change
from service.analyses.ports import Stores
from service.domain import NEWEST_FIRST, RETENTION, AnalysisFilter, AuditAction

BATCH = 100  # analyses per query
MAX_CONSECUTIVE_FAILURES = 10  # after so many, the archive counts as unavailable
_log = structlog.get_logger()


def delete_expired(stores: Stores, retention: timedelta) -> int:
    """Delete the archived analyses that ended before the retention period; return how many.

    As in `lifecycle.delete`, the audit event is stored first, so that no analysis disappears without an event. If an
    event or a deletion fails, the others continue, and a later call deletes the analysis.

    Raises:
        Unavailable: The index cannot be read, or the archive is unavailable.
    """
    expired = AnalysisFilter(ended_before=stores.clock() - retention)
    oldest_first = NEWEST_FIRST.reversed
    num_deleted, num_failed, num_consecutive, after = 0, 0, 0, None
    while analyses := stores.index.find(expired, oldest_first, after, BATCH):
        for analysis in analyses:
            details = {"create_time": analysis.create_time.isoformat()}
            try:
                record_change(stores, AuditAction.DELETE, analysis, details, actor=RETENTION, required=True)
                stores.archive.delete(analysis.id)
            except Exception as error:
                num_failed += 1
                _log.warning("expired analysis not deleted", analysis=analysis.id, error=repr(error)[:500])
                num_consecutive += 1
                if num_consecutive == MAX_CONSECUTIVE_FAILURES:  # the archive is unavailable
                    raise
                continue
            num_deleted, num_consecutive = num_deleted + 1, 0
            try:
                stores.jobs.release_request_id(analysis.request.request_id, analysis.id)
            except Unavailable as error:
                _log.warning("request ID not released: job store unavailable", error=str(error))
        after = oldest_first.cursor(analyses[-1])
    if num_deleted or num_failed:
        _log.info("expired analyses deleted", count=num_deleted, failed=num_failed)
    return num_deleted

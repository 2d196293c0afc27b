"""Delete expired analyses from the archive."""

from datetime import timedelta

import structlog
from errata.errors import Unavailable

from service.analyses.audit import record_change
from service.analyses.ports import Stores
from service.domain import NEWEST_FIRST, RETENTION, AnalysisFilter, AuditAction

BATCH = 100  # analyses per query
_log = structlog.get_logger()


def delete_expired(stores: Stores, retention: timedelta) -> int:
    """Delete the archived analyses that ended before the retention period; return how many.

    As in `lifecycle.delete`, the audit event is stored first, so that no analysis disappears without an event.

    Raises:
        Unavailable: An event cannot be stored, or the archive cannot be read or written. The analyses that are left
            expire in a later call.
    """
    expired = AnalysisFilter(ended_before=stores.clock() - retention)
    oldest_first = NEWEST_FIRST.reversed
    count, after = 0, None
    while analyses := stores.index.find(expired, oldest_first, after, BATCH):
        for analysis in analyses:
            created = analysis.create_time.isoformat()
            details = {"create_time": created}
            record_change(stores, AuditAction.DELETE, analysis, details, actor=RETENTION, required=True)
            stores.archive.delete(analysis.id)
            try:
                stores.jobs.release_request_id(analysis.request.request_id, analysis.id)
            except Unavailable as error:
                _log.warning("request ID not released: job store unavailable", error=str(error))
        count, after = count + len(analyses), oldest_first.cursor(analyses[-1])
    if count:
        _log.info("expired analyses deleted", count=count)
    return count

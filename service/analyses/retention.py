"""Delete expired analyses from the archive."""

from datetime import timedelta

import structlog
from errata.errors import Unavailable

from service.analyses.ports import Ports

_log = structlog.get_logger()


def delete_expired(ports: Ports, retention: timedelta) -> int:
    """Delete the archived analyses that ended before the retention period; return how many."""
    oldest = ports.clock() - retention
    expired = [analysis for analysis in ports.archive.list() if (analysis.end_time or analysis.create_time) < oldest]
    for analysis in expired:
        ports.archive.delete(analysis.id)
        try:
            ports.store.release_request_id(analysis.request.request_id)
        except Unavailable as error:
            _log.warning("request ID not released: job store unavailable", error=str(error))
    if expired:
        _log.info("expired analyses deleted", count=len(expired))
    return len(expired)

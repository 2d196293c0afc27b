"""Retention: finished analyses that are older than an operator keeps them are deleted."""

from datetime import timedelta

import structlog
from errata.errors import Unavailable

from service.analyses.ports import Ports

_log = structlog.get_logger()


def delete_expired(ports: Ports, keep: timedelta) -> int:
    """Delete the archived analyses that ended longer ago than `keep`; return how many."""
    oldest = ports.clock() - keep
    old = [item for item in ports.archive.list() if (item.end_time or item.create_time) < oldest]
    for analysis in old:
        ports.archive.delete(analysis.id)
        try:
            ports.store.release_request_id(analysis.request.request_id)
        except Unavailable as error:
            _log.warning("request id not released: the job store is unavailable", error=str(error))
    if old:
        _log.info("old analyses deleted", count=len(old))
    return len(old)

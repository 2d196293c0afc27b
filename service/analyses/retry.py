"""Retry: an analysis that has failed is queued again, under its own name."""

from dataclasses import replace

import structlog
from errata.errors import NotReady

from service.analyses import queries
from service.analyses.ports import Ports
from service.analyses.submit import build_job_spec, finish_submission
from service.domain import Analysis, State
from service.jobs.transitions import AnalysisRecord

_log = structlog.get_logger()


def retry(ports: Ports, analysis_id: str) -> Analysis:
    """Queue a failed analysis again; raise AnalysisNotFound, NotReady for another state, TooBusy, or as submit does."""
    before = queries.get(ports, analysis_id)
    if before.state is not State.FAILED:
        raise NotReady(f"expected an analysis that has failed, got one that is {before.state.name}", field="name")
    spec = build_job_spec(ports, replace(before.request, evidence=before.evidence))
    record = AnalysisRecord(
        before.id,
        before.request,
        before.request_digest,
        before.evidence,
        created=before.create_time.timestamp(),
        owner=before.owner,
    )
    said = ports.store.resubmit(record, spec, limit=ports.limits.max_open)
    if said is None:
        raise NotReady("expected an analysis that has failed, got one that was queued again meanwhile", field="name")
    _log.info("queued again", analysis=before.id, job=said.job)
    return finish_submission(ports, said, spec)

"""Retry a failed analysis under the same id."""

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
    """Queue a failed analysis again.

    Raises:
        AnalysisNotFound: The analysis does not exist.
        NotReady: The analysis has not failed.
        TooBusy: Too many analyses are open.
    """
    before = queries.get(ports, analysis_id)
    if before.state is not State.FAILED:
        raise NotReady(
            f"Cannot retry analysis {before.id}: its state is {before.state.name}. Retry failed analyses only.",
            field="name",
        )
    spec = build_job_spec(ports, replace(before.request, evidence=before.evidence))
    record = AnalysisRecord(
        before.id,
        before.request,
        before.request_digest,
        before.evidence,
        created=before.create_time.timestamp(),
        owner=before.owner,
    )
    submission = ports.store.resubmit(record, spec, limit=ports.limits.max_open)
    if submission is None:
        raise NotReady(f"Cannot retry analysis {before.id}: it was retried already.", field="name")
    _log.info("analysis retried", analysis=before.id, job=submission.job)
    return finish_submission(ports, submission, spec)

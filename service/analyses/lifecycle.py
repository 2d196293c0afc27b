"""Cancel, retry, and delete analyses."""

from dataclasses import replace

import structlog
from errata.errors import NotReady, Unavailable

from service.analyses import queries
from service.analyses.audit import record_change
from service.analyses.ports import Ports, Stores
from service.analyses.submit import build_job_spec, start_job
from service.caller import CALLER
from service.domain import Analysis, AuditAction, State
from service.jobs.transitions import AnalysisRecord

_log = structlog.get_logger()


class BeingArchived(Unavailable):
    """Results of the computation of an analysis may be archived already, so the analysis cannot be canceled now."""


def cancel(ports: Ports, analysis_id: str) -> Analysis:
    """Cancel an open analysis. An ended one is returned unchanged.

    An archived analysis has ended, even if a job store that was restored from a backup lists it as open. It is returned
    once `queries.get` returns it as well: a judge archives an analysis before the index has it.

    Raises:
        AnalysisNotFound: The analysis does not exist.
        BeingArchived: Results of the computation of the analysis may be archived already.
    """
    stores = ports.stores
    is_archived = queries.read_archived(stores, analysis_id) is not None
    is_canceled = False if is_archived else stores.jobs.cancel(analysis_id, "Canceled by the user.")
    if is_canceled is None or (is_archived and not queries.get(stores, analysis_id).state.is_final):
        raise BeingArchived(
            f"Analysis {analysis_id} cannot be canceled now, because results of its computation may be archived "
            "already. Try again.",
            retry_after=1.0,
        )
    if is_canceled:
        _log.info("analysis cancelled", analysis=analysis_id)
        cancelled = queries.get(stores, analysis_id)
        record_change(stores, AuditAction.CANCEL, cancelled)
        ports.observer.analysis_finished(cancelled)
    return queries.get(stores, analysis_id)


def retry(ports: Ports, analysis_id: str) -> Analysis:
    """Queue a failed analysis again.

    Raises:
        AnalysisNotFound: The analysis does not exist.
        NotReady: The analysis has not failed.
        QuotaExceeded: The analysis is of the caller, and too many analyses of the caller are open.
        TooBusy: Too many analyses are open.
    """
    before = queries.get(ports.stores, analysis_id)
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
        trace=spec.trace,
    )
    bundle = ports.stores.evidence.find(before.request.dataset, spec.evidence)
    ports.stores.jobs.store_inputs(spec, bundle.image_names, bundle.label_space)
    caller = CALLER.get()
    owner_limit = caller.max_open if caller.name == before.owner else 0  # the store counts those of the owner
    submission = ports.stores.jobs.resubmit(record, spec, limit=ports.limits.max_open, owner_limit=owner_limit)
    if submission is None:
        raise NotReady(f"Cannot retry analysis {before.id}: it was retried already.", field="name")
    _log.info("analysis retried", analysis=before.id, job=submission.job)
    start_job(ports, submission, spec)
    analysis = queries.get(ports.stores, before.id)
    record_change(ports.stores, AuditAction.RETRY, analysis)
    return analysis


def delete(stores: Stores, analysis_id: str) -> None:
    """Delete an ended analysis; raise NotReady if it is open.

    The audit event is stored first, so that no analysis disappears without an event.
    """
    analysis = queries.get(stores, analysis_id)
    if not analysis.state.is_final:
        raise NotReady(
            f"Cannot delete analysis {analysis.id}: its state is {analysis.state.name}. Cancel it first.", field="name"
        )
    created = analysis.create_time.isoformat()
    record_change(stores, AuditAction.DELETE, analysis, {"create_time": created}, required=True)
    # A job store that was restored from a backup lists the analysis as open, and would archive it again.
    stores.jobs.cancel(analysis_id, "Deleted by the user.", during_archiving=True)
    while not stores.jobs.delete(analysis_id) and stores.jobs.snapshot(analysis_id) is not None:
        stores.jobs.cancel(analysis_id, "Deleted by the user.", during_archiving=True)  # it was retried meanwhile
    stores.archive.delete(analysis_id)
    stores.jobs.release_ids(analysis.request.request_id, analysis_id)
    _log.info("analysis deleted", analysis=analysis_id)

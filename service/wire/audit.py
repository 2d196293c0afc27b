"""Messages of audit events and of analyses that are judged again."""

from errata import v1 as pb
from errata.names import dataset_id, dataset_name, evidence_name

from service.analyses.audit import AuditFilter
from service.analyses.reanalyze_all import ReanalysisProgress
from service.domain import AuditAction, AuditEvent
from service.wire.analyses import optional_time, to_timestamp
from service.wire.names import analysis_id, analysis_name, check_enum


def audit_action(value: int) -> AuditAction | None:
    """Convert the action of a request; None if it is not set."""
    check_enum(pb.AuditEvent.Action, value, "action")
    return AuditAction[pb.AuditEvent.Action.Name(value).removeprefix("ACTION_")] if value else None


def audit_filter(request: pb.ListAuditEventsRequest) -> AuditFilter:
    """Convert the conditions of a request."""
    return AuditFilter(
        dataset_id(request.dataset),
        audit_action(request.action),
        request.actor,
        analysis_id(request.analysis, "analysis") if request.analysis else "",
        optional_time(request, "start_time", "start_time"),
        optional_time(request, "end_time", "end_time"),
    )


def to_audit_event(event: AuditEvent) -> pb.AuditEvent:
    """Convert an audit event."""
    return pb.AuditEvent(
        id=event.id,
        create_time=to_timestamp(event.time),
        actor=event.actor,
        action=f"ACTION_{event.action.name}",
        dataset=dataset_name(event.dataset) if event.dataset else "",
        evidence=evidence_name(event.dataset, event.digest) if event.digest else "",
        details=event.details,
        analysis=analysis_name(event.analysis) if event.analysis else "",
    )


def to_progress(progress: ReanalysisProgress) -> pb.ReanalyzeAnalysesResponse:
    """Convert the outcome of judging one analysis again."""
    return pb.ReanalyzeAnalysesResponse(
        num_done=progress.done,
        num_total=progress.total,
        before=analysis_name(progress.before),
        after=analysis_name(progress.after) if progress.after else "",
        created=progress.is_new,
        skip_reason=progress.reason,
    )

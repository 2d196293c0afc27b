"""Get, list, cancel, and delete analyses: open ones in the job store, finished ones in the archive."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import structlog
from errata.errors import AnalysisNotFound, InvalidRequest, NewerRecord, NotReady, Unavailable

from service.analyses.ports import Ports
from service.domain import Analysis, Group, GroupSummary, Progress, State
from service.jobs.store import Snapshot

_log = structlog.get_logger()
_KEYS: Mapping[str, Callable[[Analysis], str | float]] = {
    "create_time": lambda _: "",  # ids sort by time
    "display_name": lambda analysis: analysis.title,
    "top1_accuracy": lambda analysis: _sort_value(analysis, lambda group: group.top1_accuracy),
    "model_failures": lambda analysis: _sort_value(analysis, lambda group: group.severe_errors),
}
ORDERS = ("create_time desc", *_KEYS, *(f"{name} desc" for name in _KEYS if name != "create_time"))


@dataclass(frozen=True)
class AnalysisFilter:
    """A filter of analyses: an analysis matches if it meets all conditions that are set."""

    states: frozenset[State] = frozenset()
    dataset: str = ""
    model: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    id_prefix: str = ""
    display_name: str = ""

    def matches(self, analysis: Analysis) -> bool:
        """Return whether an analysis meets the conditions."""
        return (
            (not self.states or analysis.state in self.states)
            and self.dataset in ("", analysis.request.dataset)
            and self.model in ("", analysis.request.model)
            and all(analysis.request.labels.get(key) == value for key, value in self.labels.items())
            and analysis.id.startswith(self.id_prefix)
            and self.display_name in ("", analysis.title)
        )


def get(ports: Ports, analysis_id: str) -> Analysis:
    """Return an analysis. A finished analysis is available even while the job store is not.

    The archive's cache is read first. Therefore, a finished analysis never waits for the job store, and it stays
    finished if the job store is restored from a backup. The archive's files are read last, so that an open analysis
    never waits for them.

    Raises:
        AnalysisNotFound: The analysis does not exist.
        Unavailable: The job store is unavailable, and the archive does not have the analysis.
    """
    if (archived := ports.archive.get_cached(analysis_id)) is not None:
        return archived
    store_error: Unavailable | None = None
    snapshot: Snapshot | None = None
    try:
        snapshot = ports.store.snapshot(analysis_id)
    except Unavailable as error:
        store_error = error
    if snapshot is not None and not snapshot.record.state.is_final:
        return to_analysis(snapshot)
    # The archive before the record, because a judge archives an analysis before it deletes the record.
    analysis = ports.archive.get(analysis_id) or (to_analysis(snapshot) if snapshot else None)
    if analysis is not None:
        return analysis
    if store_error is not None:
        raise store_error
    raise AnalysisNotFound(f"Analysis {analysis_id!r:.80} not found. List analyses with 'errata list'.", field="name")


def list_analyses(ports: Ports, analysis_filter: AnalysisFilter, order: str) -> Sequence[Analysis]:
    """Return the analyses that match a filter, in order. Open analyses are omitted while the job store is unavailable.

    Args:
        ports: The ports of the use cases.
        analysis_filter: The filter.
        order: One of ORDERS; empty: newest first.

    Raises:
        InvalidRequest: The order is unknown.
    """
    order = order or ORDERS[0]
    if order not in ORDERS:
        raise InvalidRequest(
            f"Unknown order {order!r:.80}. Expected one of {', '.join(map(repr, ORDERS))}.", field="order_by"
        )
    by_id = {snapshot.record.id: to_analysis(snapshot) for snapshot in _list_open(ports)}
    by_id |= {analysis.id: analysis for analysis in ports.archive.list()}
    matches = [analysis for analysis in by_id.values() if analysis_filter.matches(analysis)]
    key = _KEYS[order.removesuffix(" desc")]
    return sorted(matches, key=lambda analysis: (key(analysis), analysis.id), reverse=order.endswith("desc"))


def _sort_value(analysis: Analysis, value_of: Callable[[GroupSummary], float | None]) -> float:
    """Return a value of the group of all samples; -1 if there is none."""
    value = value_of(analysis.summary.groups[Group.ALL]) if analysis.summary else None
    return -1.0 if value is None else float(value)


def _list_open(ports: Ports) -> Sequence[Snapshot]:
    try:
        return ports.store.records()
    except Unavailable as error:
        _log.warning("open analyses not listed: job store unavailable", error=str(error))
        return []


def cancel(ports: Ports, analysis_id: str) -> Analysis:
    """Cancel an open analysis. An ended one is returned unchanged.

    An archived analysis has ended, even if a job store that was restored from a backup lists it as open.
    """
    if (archived := _find_archived(ports, analysis_id)) is not None:
        return archived
    if ports.store.cancel(analysis_id, "Canceled by the user."):
        _log.info("analysis cancelled", analysis=analysis_id)
        ports.on_finished(get(ports, analysis_id))
    return get(ports, analysis_id)


def _find_archived(ports: Ports, analysis_id: str) -> Analysis | None:
    """Return an archived analysis; None if it does not exist, or if the archive is unavailable (cancel still works)."""
    try:
        return ports.archive.get(analysis_id)
    except NewerRecord:
        raise
    except Unavailable:
        return None


def delete(ports: Ports, analysis_id: str) -> None:
    """Delete an ended analysis; raise NotReady if it is open."""
    analysis = get(ports, analysis_id)
    if not analysis.state.is_final:
        raise NotReady(
            f"Cannot delete analysis {analysis.id}: its state is {analysis.state.name}. Cancel it first.", field="name"
        )
    # A job store that was restored from an older state has it as open, and would archive it again.
    ports.store.cancel(analysis_id, "Deleted by the user.")
    ports.store.delete(analysis_id)
    ports.archive.delete(analysis_id)
    ports.store.release_request_id(analysis.request.request_id)
    _log.info("analysis deleted", analysis=analysis_id)


def find_by_request_id(ports: Ports, request_id: str) -> Analysis | None:
    """Return the archived analysis of a request ID; None if there is none."""
    return next((analysis for analysis in ports.archive.list() if analysis.request.request_id == request_id), None)


def get_succeeded(ports: Ports, analysis_id: str) -> Analysis:
    """Return an analysis with a result; raise NotReady if it has none."""
    analysis = get(ports, analysis_id)
    if analysis.state is not State.SUCCEEDED:
        remedy = "" if analysis.state.is_final else f" Wait for it with 'errata wait {analysis.id}'."
        raise NotReady(
            f"Analysis {analysis.id} has no result: its state is {analysis.state.name}.{remedy}", field="name"
        )
    return analysis


def to_analysis(snapshot: Snapshot) -> Analysis:
    """Return the open, failed, or canceled analysis of a record."""
    record, job = snapshot.record, snapshot.job
    started = None if job is None or job.started is None else job.started
    return Analysis(
        id=record.id,
        request=record.request,
        state=_state(snapshot),
        evidence=record.evidence,
        create_time=datetime.fromtimestamp(record.created, UTC),
        owner=record.owner,
        start_time=None if started is None else datetime.fromtimestamp(started, UTC),
        end_time=None if record.ended is None else datetime.fromtimestamp(record.ended, UTC),
        progress=_progress(snapshot),
        failure=record.failure if record.state is State.FAILED else None,
        request_digest=record.request_digest,
    )


def _state(snapshot: Snapshot) -> State:
    """Return the state of an analysis; QUEUED if no worker has a lease, even if the record is RUNNING."""
    record, job = snapshot.record, snapshot.job
    if record.state is not State.RUNNING or job is None or not job.num_shards_left:
        return record.state
    is_leased = any(shard.state is State.RUNNING and shard.lease > snapshot.now for shard in job.shards)
    return State.RUNNING if is_leased else State.QUEUED


def _progress(snapshot: Snapshot) -> Progress:
    job = snapshot.job
    if job is None:
        return Progress()
    progress = Progress(
        done=job.done,
        total=job.spec.total,
        live_workers=snapshot.live_workers,
        shards_done=len(job.shards) - job.num_shards_left,
        shards=len(job.shards),
    )
    if _state(snapshot) is State.QUEUED:
        return replace(progress, queue_position=snapshot.queue_position)
    rate = job.images_per_second(snapshot.now)
    if rate is None:
        return progress
    return replace(progress, images_per_second=rate, eta_seconds=(job.spec.total - job.done) / rate)

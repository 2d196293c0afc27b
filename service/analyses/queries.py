"""Look: get, list, cancel and delete analyses, open ones from the store and finished ones from the archive."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import structlog
from errata.errors import AnalysisNotFound, InvalidRequest, NewerRecord, NotReady, Unavailable

from service.analyses.ports import Ports
from service.domain import Analysis, ErrorType, Group, GroupSummary, Progress, State
from service.jobs.store import Snapshot

_log = structlog.get_logger()
_KEYS: Mapping[str, Callable[[Analysis], str | float]] = {
    "create_time": lambda _: "",  # ids sort by time
    "title": lambda analysis: analysis.title,
    "top1_accuracy": lambda analysis: _everything(analysis, lambda group: group.top1_accuracy),
    "model_failures": lambda analysis: _everything(analysis, lambda group: group.counts[ErrorType.MODEL_FAILURE]),
}
ORDERS = ("create_time desc", *_KEYS, *(f"{name} desc" for name in _KEYS if name != "create_time"))


@dataclass(frozen=True)
class AnalysisFilter:
    """Which analyses; all conditions that are set must hold."""

    states: frozenset[State] = frozenset()
    dataset: str = ""
    model: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def lets_through(self, analysis: Analysis) -> bool:
        """Say whether an analysis meets the conditions."""
        return (
            (not self.states or analysis.state in self.states)
            and self.dataset in ("", analysis.request.dataset)
            and self.model in ("", analysis.request.model)
            and all(analysis.request.labels.get(key) == value for key, value in self.labels.items())
        )


def get(ports: Ports, analysis_id: str) -> Analysis:
    """Return an analysis, a finished one even while the store is away; raise AnalysisNotFound or Unavailable.

    The memory of the archive comes first, so that a finished analysis never waits for the store, and stays finished
    after the store was rolled back. Its files come last, so that an open analysis never waits for them.
    """
    if (archived := ports.archive.known(analysis_id)) is not None:
        return archived
    away: Unavailable | None = None
    snapshot: Snapshot | None = None
    try:
        snapshot = ports.store.snapshot(analysis_id)
    except Unavailable as error:
        away = error
    if snapshot is not None and not snapshot.record.state.is_final:
        return seen(snapshot)
    result = ports.archive.get(analysis_id) or (seen(snapshot) if snapshot else None)  # archived first, then forgotten
    if result is not None:
        return result
    if away is not None:
        raise away
    raise AnalysisNotFound(
        f"expected the name of an analysis, got {analysis_id!r:.80}, which there isn't", field="name"
    )


def list_analyses(ports: Ports, wanted: AnalysisFilter, order: str) -> Sequence[Analysis]:
    """Return the analyses that a filter lets through, in order; while the store is away, the finished ones alone."""
    order = order or ORDERS[0]
    if order not in ORDERS:
        raise InvalidRequest(f"expected one of {', '.join(map(repr, ORDERS))}, got {order!r:.80}", field="order_by")
    result = {snapshot.record.id: seen(snapshot) for snapshot in _entries(ports)}
    result |= {analysis.id: analysis for analysis in ports.archive.list()}
    chosen = [analysis for analysis in result.values() if wanted.lets_through(analysis)]
    key = _KEYS[order.removesuffix(" desc")]
    return sorted(chosen, key=lambda item: (key(item), item.id), reverse=order.endswith("desc"))


def _everything(analysis: Analysis, value: Callable[[GroupSummary], float | None]) -> float:
    """Return a value of all samples; what has none is less than any."""
    result = value(analysis.summary.groups[Group.ALL]) if analysis.summary else None
    return -1.0 if result is None else float(result)


def _entries(ports: Ports) -> Sequence[Snapshot]:
    try:
        return ports.store.entries()
    except Unavailable as error:
        _log.warning("what is open can't be listed: the store is away", error=str(error))
        return []


def cancel(ports: Ports, analysis_id: str) -> Analysis:
    """Cancel an analysis that is open; one that has ended is returned as it is.

    An archived analysis has ended even where a store that was rolled back says that it is open.
    """
    if (archived := _archived(ports, analysis_id)) is not None:
        return archived
    if ports.store.cancel(analysis_id, "cancelled by its user"):
        _log.info("cancelled", analysis=analysis_id)
        ports.on_finished(get(ports, analysis_id))
    return get(ports, analysis_id)


def _archived(ports: Ports, analysis_id: str) -> Analysis | None:
    """Return an archived analysis; None if there is none, or the archive is away: the store alone can cancel."""
    try:
        return ports.archive.get(analysis_id)
    except NewerRecord:
        raise
    except Unavailable:
        return None


def delete(ports: Ports, analysis_id: str) -> None:
    """Delete an analysis that has ended; raise NotReady while it is open."""
    analysis = get(ports, analysis_id)
    if not analysis.state.is_final:
        raise NotReady(
            f"expected an analysis that has ended, got one that is {analysis.state.name}: cancel it first", field="name"
        )
    ports.store.cancel(analysis_id, "deleted by its user")  # a store that was rolled back would archive it again
    ports.store.forget(analysis_id)
    ports.archive.delete(analysis_id)
    ports.store.release(analysis.request.request_id)
    _log.info("deleted", analysis=analysis_id)


def by_request_id(ports: Ports, request_id: str) -> Analysis | None:
    """Return the finished analysis that a request id made, also before a restart."""
    return next((item for item in ports.archive.list() if item.request.request_id == request_id), None)


def succeeded(ports: Ports, analysis_id: str) -> Analysis:
    """Return an analysis that has a result; raise NotReady for any other."""
    analysis = get(ports, analysis_id)
    if analysis.state is not State.SUCCEEDED:
        raise NotReady(f"expected an analysis that has succeeded, got one that is {analysis.state.name}", field="name")
    return analysis


def seen(snapshot: Snapshot) -> Analysis:
    """Return an open, failed or cancelled analysis as its user sees it."""
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
    """Return the state as its user sees it: what nobody works on now is queued, though its record says it began."""
    record, job = snapshot.record, snapshot.job
    if record.state is not State.RUNNING or job is None or not job.left:
        return record.state
    held = any(shard.state is State.RUNNING and shard.lease > snapshot.now for shard in job.shards)
    return State.RUNNING if held else State.QUEUED


def _progress(snapshot: Snapshot) -> Progress:
    job = snapshot.job
    if job is None:
        return Progress()
    progress = Progress(
        done=job.done,
        total=job.spec.total,
        live_workers=snapshot.live_workers,
        shards_done=len(job.shards) - job.left,
        shards=len(job.shards),
    )
    if _state(snapshot) is State.QUEUED:
        return replace(progress, queue_position=snapshot.queue_position)
    rate = job.rate(snapshot.now)
    if rate is None:
        return progress
    return replace(progress, images_per_second=rate, eta_seconds=(job.spec.total - job.done) / rate)

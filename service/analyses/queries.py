"""Get, list, and count analyses: open ones in the job store, finished ones in the archive."""

import heapq
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import structlog
from errata.errors import AnalysisNotFound, InvalidRequest, NewerRecord, NotReady, Unavailable
from errata.requests import DEFAULT_DATASET

from service.analyses.ports import Stores
from service.analyses.waiting import waiting_reason
from service.domain import (
    NEWEST_FIRST,
    ORDERS,
    Analysis,
    AnalysisFilter,
    AnalysisPage,
    Cursor,
    Order,
    Progress,
    State,
)
from service.jobs.base_store import Snapshot

PAGE_SIZE = 100  # analyses per query of an iteration
RETRY_SECONDS = 5.0  # in the error that analyses can be missing
_log = structlog.get_logger()


def get(stores: Stores, analysis_id: str) -> Analysis:
    """Return an analysis. A finished analysis is available even while the job store is not.

    If the index has the analysis, the archive is read first. Therefore, a finished analysis never waits for the job
    store, and stays finished if the job store is restored from a backup. Otherwise, the job store is read first, so
    that an open analysis never waits for the archive.

    Raises:
        AnalysisNotFound: The analysis does not exist.
        Unavailable: The job store is unavailable, and the archive does not have the analysis.
    """
    if _is_indexed(stores, analysis_id) and (archived := stores.archive.get(analysis_id)) is not None:
        return archived
    store_error: Unavailable | None = None
    snapshot: Snapshot | None = None
    try:
        snapshot = stores.jobs.snapshot(analysis_id)
    except Unavailable as error:
        store_error = error
    if snapshot is not None and not snapshot.record.state.is_final:
        return _add_waiting_reason(stores, to_analysis(snapshot), snapshot)
    # The archive precedes the record, because a judge archives an analysis before it deletes the record.
    analysis = stores.archive.get(analysis_id) or (to_analysis(snapshot) if snapshot else None)
    if analysis is not None:
        return analysis
    if store_error is not None:
        raise store_error
    raise AnalysisNotFound(f"Analysis {analysis_id!r:.80} not found. List analyses with 'errata list'.", field="name")


def default_dataset(stores: Stores, owner: str = "") -> str:
    """Return the data set with the most succeeded analyses of an owner; without any, that with the most analyses."""
    counts = stores.index.num_by_dataset()
    succeeded = {
        name: stores.index.count(AnalysisFilter(frozenset({State.SUCCEEDED}), dataset=name, owner=owner))
        for name in counts
    }
    return max(counts, key=lambda name: (succeeded[name], counts[name], name), default=DEFAULT_DATASET)


def _is_indexed(stores: Stores, analysis_id: str) -> bool:
    """Return whether the index has an analysis; False if it cannot be read, so that callers read the archive."""
    try:
        return bool(stores.index.contained([analysis_id]))
    except Unavailable:
        return False


def _add_waiting_reason(stores: Stores, analysis: Analysis, snapshot: Snapshot) -> Analysis:
    """Return a queued analysis with the reason why it cannot run yet."""
    if analysis.state is not State.QUEUED or snapshot.job is None:
        return analysis
    reason = waiting_reason(stores.jobs.offers(), snapshot.live_workers, snapshot.job.spec)
    return replace(analysis, progress=replace(analysis.progress, waiting_reason=reason))


def parse_order(text: str) -> Order:
    """Return the order of a text such as `display_name desc`; newest first for an empty text.

    Raises:
        InvalidRequest: The order is unknown.
    """
    by_text = {str(order): order for order in ORDERS} | {"": NEWEST_FIRST}
    if text not in by_text:
        names = ", ".join(repr(str(order)) for order in ORDERS)
        raise InvalidRequest(f"Unknown order {text!r:.80}. Expected one of {names}.", field="order_by")
    return by_text[text]


def list_analyses(
    stores: Stores, analysis_filter: AnalysisFilter, order: Order, after: Cursor | None, limit: int
) -> AnalysisPage:
    """Return a page of the analyses that match a filter. Open analyses are omitted while the job store is unavailable.

    The job store has a bounded number of analyses, and the index has the archived ones. If analyses are added between
    two pages, the next page neither repeats nor skips other analyses.

    Args:
        stores: The stores.
        analysis_filter: The filter.
        order: The order.
        after: The position after which the page begins; None: the first page.
        limit: Maximum number of analyses.
    """
    is_complete = stores.index.is_complete
    # The job store is read before the index: a judge archives an analysis before it deletes the record.
    matches = _find_unarchived(stores, analysis_filter)
    is_incomplete = matches is None or not is_complete
    unarchived = [analysis for analysis in matches or [] if after is None or order.is_after(analysis, after)]
    unarchived.sort(key=order.key, reverse=order.is_descending)
    archived = stores.index.find(analysis_filter, order, after, limit + 1)
    archived_ids = {analysis.id for analysis in archived}
    unarchived = [analysis for analysis in unarchived if analysis.id not in archived_ids]
    analyses = [*heapq.merge(archived, unarchived, key=order.key, reverse=order.is_descending)]
    page = analyses[:limit]
    return AnalysisPage(page, order.cursor(page[-1]) if len(analyses) > limit else None, is_incomplete)


def iterate_analyses(stores: Stores, analysis_filter: AnalysisFilter) -> Iterator[Analysis]:
    """Yield all analyses that match a filter, newest first, for decisions that a missing one would change.

    Raises:
        Unavailable: Analyses can be missing.
    """
    after: Cursor | None = None
    while True:
        page = list_analyses(stores, analysis_filter, NEWEST_FIRST, after, PAGE_SIZE)
        if page.is_incomplete:
            raise incomplete_error()
        yield from page.analyses
        if (after := page.next) is None:
            return


def incomplete_error() -> Unavailable:
    """Return the error that analyses can be missing."""
    return Unavailable(
        "Analyses can be missing: the index of the archive is being built, or the archive or the job store is "
        "unavailable. Try again in some seconds.",
        retry_after=RETRY_SECONDS,
    )


def count_analyses(
    stores: Stores,
    analysis_filter: AnalysisFilter,
    order: Order = NEWEST_FIRST,
    until: Cursor | None = None,
    limit: int | None = None,
) -> int:
    """Return the number of analyses that match a filter. With `until`, count only up to that position of the order.

    With `limit`, the count stops at this number if so many archived analyses match.
    """
    unarchived = _find_unarchived(stores, analysis_filter) or []
    if until is not None:
        unarchived = [analysis for analysis in unarchived if not order.is_after(analysis, until)]
    archived = stores.index.count(analysis_filter, order, until, limit)
    return archived if archived == limit else archived + len(unarchived)


def _find_unarchived(stores: Stores, analysis_filter: AnalysisFilter) -> list[Analysis] | None:
    """Return the matching analyses of the job store that are not archived; None if the job store is unavailable.

    A job store that was restored from a backup lists archived analyses as open.
    """
    try:
        analyses = [to_analysis(snapshot) for snapshot in stores.jobs.snapshots()]
    except Unavailable as error:
        _log.warning("open analyses not listed: job store unavailable", error=str(error))
        return None
    matching = [analysis for analysis in analyses if analysis_filter.matches(analysis)]
    archived_ids = stores.index.contained([analysis.id for analysis in analyses])
    return [analysis for analysis in matching if analysis.id not in archived_ids]


def find_by_request_id(stores: Stores, request_id: str) -> Analysis | None:
    """Return the archived analysis of a request ID; None if there is none."""
    return find_archived(stores, AnalysisFilter(request_id=request_id))


def find_archived(stores: Stores, analysis_filter: AnalysisFilter) -> Analysis | None:
    """Find the newest archived analysis that matches a filter, and read it from the archive; None if none matches."""
    analyses = stores.index.find(analysis_filter, NEWEST_FIRST, None, 1)
    return stores.archive.get(analyses[0].id) if analyses else None


def read_archived(stores: Stores, analysis_id: str) -> Analysis | None:
    """Return an archived analysis; None if it does not exist, or if the archive is unavailable."""
    try:
        return stores.archive.get(analysis_id)
    except NewerRecord:
        raise
    except Unavailable:
        return None


def get_succeeded(stores: Stores, analysis_id: str) -> Analysis:
    """Return an analysis with a result; raise NotReady if it has none."""
    analysis = get(stores, analysis_id)
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
        trace=record.trace,
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
        shards_done=len(job.shards) - job.num_shards_left,
        shards=len(job.shards),
    )
    if snapshot.record.state.is_final:
        return progress
    progress = replace(progress, live_workers=snapshot.live_workers)
    if _state(snapshot) is State.QUEUED:
        return replace(progress, queue_position=snapshot.queue_position)
    rate = job.images_per_second(snapshot.now)
    if rate is None:
        return progress
    return replace(progress, images_per_second=rate, eta_seconds=(job.spec.total - job.done) / rate)

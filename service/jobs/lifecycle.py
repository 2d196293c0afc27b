"""The rules that span a job and the analyses that wait for it: each function is a part of one atomic step."""

from errata.errors import DamagedRecord

from service.domain import State
from service.jobs import records, transitions
from service.jobs.records import ANALYSES, read_or_none
from service.jobs.transaction import DELIVERY_TTL, FINISHED_TTL, JobTransaction
from service.jobs.transitions import JobStatus, RecordStatus
from service.key_value.commands import PREFIX


def bind(tx: JobTransaction, request_id: str, digest: str, delivery: str, analysis_id: str, *, is_open: bool) -> None:
    """Bind a request ID and a delivery, if not empty, to an analysis. Unless `is_open`, give the request ID a TTL."""
    if request_id:
        key = f"{PREFIX}request:{request_id}"
        tx.write("HSET", key, "digest", digest, "analysis", analysis_id)
        tx.write(*(("PERSIST", key) if is_open else ("EXPIRE", key, FINISHED_TTL)))
    if delivery:
        tx.write("SET", f"{PREFIX}delivery:{delivery}", analysis_id, "EX", DELIVERY_TTL)


def release_request_id(tx: JobTransaction, request_id: str, analysis_id: str) -> None:
    """Release the request ID of an analysis, unless the ID is bound to another analysis."""
    before = tx.request(request_id) if request_id else None
    if before is not None and before[1] == analysis_id:
        tx.write("DEL", f"{PREFIX}request:{request_id}")


def write_job(tx: JobTransaction, before: JobStatus, job: JobStatus) -> None:
    """Store the changes of a job, and update the analyses that wait for it."""
    analyses = tx.waiting(job.id) if job.state is not before.state else []
    if analyses:
        tx.prefetch(*map(ANALYSES.command, analyses), ("GET", f"{PREFIX}dedupe:{job.dedupe_key}"))
    tx.update_job(job)
    for analysis_id in analyses:
        record, state, failure = None, job.state, job.failure
        try:
            record = tx.record(analysis_id)
            if state is State.SUCCEEDED:
                records.read_record(analysis_id, tx.read(*ANALYSES.command(analysis_id)))
        except DamagedRecord as error:  # it ends with its job, or it would count as open forever, but has no result
            if state.is_final:
                record = record or RecordStatus(analysis_id, before.state, job.id)
            if state is State.SUCCEEDED:
                state, failure = State.FAILED, transitions.failure_of(error)
        if record is not None:
            tx.set_state(record, state, failure)


def delete_excess(tx: JobTransaction, known_owners: dict[str, str]) -> None:
    """Delete the ended analyses beyond MAX_FINISHED, except those with a pending write-back.

    An analysis is deleted with its request ID, and with its job if no other analysis refers to it.

    Args:
        tx: A transaction.
        known_owners: The owners of the ended analyses that the last call found; changed to those of this call. Without
            them, reading 1,000 owners takes 40 ms.
    """
    ids = _find_excess(tx, known_owners)
    tx.prefetch(*map(ANALYSES.command, ids))
    deleted: dict[str, set[str]] = {}
    for analysis_id in ids:
        record = read_or_none(tx.record, analysis_id)
        if record is not None and not record.state.is_final:  # a version without the key `finished` queued it again
            tx.write("ZREM", f"{PREFIX}finished", analysis_id)
        elif record is None or tx.outbox_item(analysis_id) is None:
            tx.delete_record(analysis_id)
            if record is not None:
                release_request_id(tx, record.request_id, record.id)
                deleted.setdefault(record.job, set()).add(analysis_id)
    for job_id, analyses in deleted.items():
        job = read_or_none(tx.job, job_id)
        if job is None or not job.state.is_final:
            continue
        tx.remove_waiting(job_id, analyses)
        if analyses.issuperset(tx.waiting(job_id)):
            tx.delete_job(job)


def _find_excess(tx: JobTransaction, known_owners: dict[str, str]) -> list[str]:
    """Return the ended analyses beyond MAX_FINISHED: those that expired, then the oldest of the owner with the most.

    Otherwise, one owner could delete the analyses of all others by ending many.
    """
    if not tx.read("ZRANGE", f"{PREFIX}finished", 0, -1 - transitions.MAX_FINISHED):
        return []
    ended = dict(tx.scores("finished", check=False))
    expired = [id for id, end_time in ended.items() if end_time <= tx.now - FINISHED_TTL]
    owners = {id: owner for id in ended if (owner := known_owners.get(id)) is not None}
    unknown = {id: ANALYSES.command(id) for id in ended.keys() - owners.keys()}
    tx.prefetch(*unknown.values())
    owners |= {id: records.owner_of(tx.read(*command, check=False)) for id, command in unknown.items()}
    known_owners.clear()
    known_owners.update(owners)
    by_owner: dict[str, list[str]] = {}
    for id in list(ended)[len(expired) :]:  # oldest first
        by_owner.setdefault(owners[id], []).append(id)
    num_excess = len(ended) - transitions.MAX_FINISHED - len(expired)
    return expired + [max(by_owner.values(), key=len).pop(0) for _ in range(num_excess)]

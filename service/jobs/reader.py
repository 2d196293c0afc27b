"""Reads jobs and analyses for queries. A read needs several round trips, so it is not atomic."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ParamSpec, TypeVar

import structlog
from errata.errors import DamagedRecord, NewerRecord

from service.jobs import records
from service.jobs.base_store import HEARTBEAT_SECONDS, BaseStore
from service.jobs.records import ANALYSES, JOBS
from service.jobs.transaction import (
    FINISHED_TTL,
    JobTransaction,
    members_command,
    scores_command,
    shard_command,
    waiting_command,
)
from service.jobs.transitions import AnalysisRecord, Job, ShardResult
from service.key_value.commands import PREFIX, Backend, Command, number

BATCH = 200  # records per call, so that Redis can serve other clients between two calls
ATTEMPTS = 3  # attempts to read a job that ends meanwhile
_log = structlog.get_logger()
Value = TypeVar("Value")
Arguments = ParamSpec("Arguments")
Unreadable = DamagedRecord | NewerRecord


@dataclass(frozen=True)
class Snapshot:
    """A record with its job and its position in the queue."""

    record: AnalysisRecord
    job: Job | None  # None for an analysis that was canceled while others waited for the job
    queue_position: int  # number of open jobs that were created before this one
    live_workers: int
    now: float  # seconds of the store's clock

    @property
    def is_final(self) -> bool:
        """Whether the record and its job never change again."""
        return self.record.state.is_final and (self.job is None or self.job.state.is_final)


class JobReader(BaseStore):
    """Reads jobs and analyses. Thread-safe."""

    def __init__(self, backend: Backend, heartbeat: float = HEARTBEAT_SECONDS) -> None:
        super().__init__(backend, heartbeat)
        # Final records by id and end time. Without this cache, reading 1,000 of them takes most of the time of a list.
        self._finished: dict[tuple[str, float], Snapshot] = {}

    def job(self, job_id: str) -> Job | None:
        """Return a job; None if it does not exist."""
        with self._log_damage():
            return _checked(self._read(_read_jobs, [job_id])[job_id])

    def shard_results(self, job_id: str) -> Sequence[ShardResult]:
        """Return the predictions of all finished shards of an open job, in order."""
        job = self.job(job_id)
        if job is None or job.state.is_final:
            return []
        contents = self._backend.read([("GET", f"{PREFIX}part:{job_id}:{index}") for index in range(job.num_shards)])
        with self._log_damage():
            return [records.unpack_shard_result(content) for content in contents if isinstance(content, bytes)]

    def snapshot(self, analysis_id: str) -> Snapshot | None:
        """Return a record with its job; None if it does not exist."""
        with self._log_damage():
            return _checked(self._read(self._read_snapshots, [analysis_id])[analysis_id])

    def snapshots(self) -> Sequence[Snapshot]:
        """Return all records with their jobs. Log unreadable records."""
        tx = JobTransaction(self._backend)
        tx.prefetch(*map(members_command, ("analyses", "open:analyses")), *map(scores_command, ("finished", "workers")))
        num_workers, opened = len(tx.live_workers(self.heartbeat_timeout)), set(tx.members("open:analyses"))
        # A version without the key `finished` does not remove an analysis that it queues again.
        ended = {id: end_time for id, end_time in tx.scores("finished") if id not in opened}
        ids = [id for id in tx.members("analyses") if ended.get(id, tx.now) > tx.now - FINISHED_TTL]
        keys = [(id, ended.get(id, 0.0)) for id in ids]
        snapshots = {key[0]: self._finished[key] for key in keys if key in self._finished}
        missing = [id for id in ids if id not in snapshots]
        for start in range(0, len(missing), BATCH):
            for id, result in self._read(self._read_snapshots, missing[start : start + BATCH]).items():
                if isinstance(result, Snapshot):
                    snapshots[id] = result
                elif isinstance(result, NewerRecord):
                    _log.warning("open analysis skipped", error=result.message)
                elif result is not None:
                    self._log_once(result)
        self._finished = {(id, ended[id]): snapshots[id] for id in ended if id in snapshots and snapshots[id].is_final}
        return [replace(snapshots[id], live_workers=num_workers, now=tx.now) for id in ids if id in snapshots]

    def _read(
        self,
        read: Callable[[JobTransaction, Sequence[str]], dict[str, Value | Unreadable]],
        ids: Sequence[str],
        attempts: int = ATTEMPTS,
    ) -> dict[str, Value | Unreadable]:
        """Read documents by id. Read those again whose job may have ended meanwhile, which deletes its data."""
        results = read(JobTransaction(self._backend), ids)
        ended = [id for id, result in results.items() if isinstance(result, DamagedRecord) or _lacks_job(result)]
        return results | self._read(read, ended, attempts - 1) if ended and attempts > 1 else results

    def _read_snapshots(self, tx: JobTransaction, ids: Sequence[str]) -> dict[str, Snapshot | Unreadable | None]:
        tx.prefetch(scores_command("workers"), *map(ANALYSES.command, ids))
        entries = {id: _try(records.read_record, id, tx.read(*ANALYSES.command(id))) for id in ids}
        jobs = _read_jobs(tx, sorted({entry.job for entry in entries.values() if isinstance(entry, AnalysisRecord)}))
        num_workers = len(tx.live_workers(self.heartbeat_timeout))

        def snapshot(id: str) -> Snapshot | None:
            if (record := _checked(entries[id])) is None:
                return None
            position = int(number(tx.read(*_position_command(record.job))))
            job = _checked(jobs[record.job])
            if job is not None and record.state.is_final and id not in job.analyses:
                job = None  # it can change, and belong to other owners
            return Snapshot(record, job, position, num_workers, tx.now)

        return {id: _try(snapshot, id) for id in ids}


def _read_jobs(tx: JobTransaction, ids: Sequence[str]) -> dict[str, Job | Unreadable | None]:
    tx.prefetch(*(command(id) for id in ids for command in (JOBS.command, waiting_command, _position_command)))
    heads = {id: _try(records.read_head, id, tx.read(*JOBS.command(id))) for id in ids}
    known = [head for head in heads.values() if isinstance(head, Job)]
    tx.prefetch(*(shard_command(head.id, index) for head in known for index in range(head.num_shards)))

    def job(id: str) -> Job | None:
        if (head := _checked(heads[id])) is None:
            return None
        shards = [shard for index in range(head.num_shards) if (shard := tx.shard(id, index)) is not None]
        with records.translate_damage(f"the job {id}"):
            if len(shards) != head.num_shards:
                raise ValueError(f"expected {head.num_shards} shards, got {len(shards)}")
        return replace(head, shards=tuple(shards), analyses=frozenset(tx.waiting(id)))

    return {id: _try(job, id) for id in ids}


def _position_command(job_id: str) -> Command:
    return "ZRANK", f"{PREFIX}open:jobs", job_id


def _lacks_job(result: object) -> bool:
    return isinstance(result, Snapshot) and result.job is None and not result.record.state.is_final


def _try(read: Callable[Arguments, Value], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Value | Unreadable:
    """Return the result of a function, or its error if a record is unreadable."""
    try:
        return read(*args, **kwargs)
    except (DamagedRecord, NewerRecord) as error:
        return error


def _checked(result: Value | Unreadable) -> Value:
    """Return a result of `_try`; raise it if it is an error."""
    if isinstance(result, Unreadable):
        raise result
    return result

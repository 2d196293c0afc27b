"""Reads jobs and analyses for queries. A read needs several round trips, so it is not atomic."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import ParamSpec, TypeVar

import structlog
from errata.errors import DamagedRecord, NewerRecord

from service.jobs import records
from service.jobs.transaction import job_command, record_command, shard_command
from service.jobs.transaction import waiting_command as waiting
from service.jobs.transitions import AnalysisRecord, Job
from service.key_value.commands import PREFIX, Backend, number, texts

BATCH = 200  # records per call, so that Redis can serve other clients between two calls
MAX_LOGGED = 1000  # damaged records that the reader remembers, so that each is logged once
OPEN_JOBS = f"{PREFIX}open:jobs"
ATTEMPTS = 3  # attempts to read a job that ends meanwhile
_log = structlog.get_logger()
Value = TypeVar("Value")
Arguments = ParamSpec("Arguments")
Unreadable = DamagedRecord | NewerRecord


@dataclass(frozen=True)
class Snapshot:
    """A record with its job and its position in the queue."""

    record: AnalysisRecord
    job: Job | None
    queue_position: int  # number of open jobs that were created before this one
    live_workers: int
    now: float  # seconds of the store's clock

    @property
    def is_final(self) -> bool:
        """Whether the record and its job never change again."""
        return self.record.state.is_final and (self.job is None or self.job.state.is_final)


def _try(read: Callable[Arguments, Value], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Value | Unreadable:
    """Return the record that a function reads, or the error if the record is unreadable."""
    try:
        return read(*args, **kwargs)
    except (DamagedRecord, NewerRecord) as error:
        return error


class Reader:
    """Reads jobs and analyses. Thread-safe."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._logged: set[tuple[str, str]] = set()  # damaged records

    def job(self, job_id: str) -> Job | None:
        """Return a job; None if it does not exist."""
        with self.log_damage():
            job = self._jobs([job_id]).get(job_id)
            if isinstance(job, Exception):
                raise job
            return job

    def snapshot(self, analysis_id: str, now: float, num_workers: int) -> Snapshot | None:
        """Return an analysis with its job; None if it does not exist."""
        with self.log_damage():
            result = self._snapshots([analysis_id], now, num_workers).get(analysis_id)
            if isinstance(result, Exception):
                raise result
            return result

    def snapshots(self, ids: Sequence[str], now: float, num_workers: int) -> dict[str, Snapshot]:
        """Return the analyses that exist, with their jobs. Log unreadable analyses."""
        snapshots = {}
        for start in range(0, len(ids), BATCH):
            for analysis_id, result in self._snapshots(ids[start : start + BATCH], now, num_workers).items():
                if isinstance(result, Snapshot):
                    snapshots[analysis_id] = result
                elif isinstance(result, NewerRecord):
                    _log.warning("open analysis skipped", error=result.message)
                else:
                    self._log_once(result)
        return snapshots

    def _snapshots(
        self, ids: Sequence[str], now: float, num_workers: int, attempts: int = ATTEMPTS
    ) -> dict[str, Snapshot | Unreadable]:
        """Return each analysis by its id, or the error if the analysis is unreadable."""
        commands = [(*record_command(analysis_id), "entry") for analysis_id in ids]
        replies = self._backend.read(commands)
        entries = {id: _try(records.read_record, id, reply) for id, reply in zip(ids, replies, strict=True)}
        job_ids = sorted({entry.job for entry in entries.values() if isinstance(entry, AnalysisRecord)})
        ranks = dict(zip(job_ids, self._backend.read([("ZRANK", OPEN_JOBS, id) for id in job_ids]), strict=True))
        jobs = self._jobs(job_ids)
        results: dict[str, Snapshot | Unreadable] = {}
        ended = []
        for analysis_id, entry in entries.items():
            job = jobs.get(entry.job) if isinstance(entry, AnalysisRecord) else None
            if entry is None:
                continue
            if isinstance(entry, Unreadable):
                results[analysis_id] = entry
            elif isinstance(job, Unreadable):
                results[analysis_id] = job
            elif job is None and not entry.state.is_final and attempts > 1:
                ended.append(analysis_id)  # it has ended since its record was read
            else:
                results[analysis_id] = Snapshot(entry, job, int(number(ranks[entry.job])), num_workers, now)
        return results | (self._snapshots(ended, now, num_workers, attempts - 1) if ended else {})

    def _jobs(self, ids: Sequence[str], attempts: int = ATTEMPTS) -> dict[str, Job | Unreadable]:
        """Return each job by its id, or the error if the job is unreadable."""
        replies = self._backend.read([command for id in ids for command in ((*job_command(id), "spec"), waiting(id))])
        analyses = dict(zip(ids, map(texts, replies[1::2]), strict=True))
        heads = {id: _try(records.read_head, id, reply) for id, reply in zip(ids, replies[::2], strict=True)}
        known = {id: head for id, head in heads.items() if isinstance(head, tuple)}
        shards = iter(
            self._backend.read(
                [shard_command(id, index) for id, (job, _) in known.items() for index in range(job.num_shards)]
            )
        )
        results: dict[str, Job | Unreadable] = {id: head for id, head in heads.items() if isinstance(head, Exception)}
        for job_id, (status, spec) in known.items():
            shard_replies = list(islice(shards, status.num_shards))
            results[job_id] = _try(records.read_job, status, spec, analyses[job_id], shard_replies)
        damaged = [job_id for job_id, job in results.items() if isinstance(job, DamagedRecord)]
        if damaged and attempts > 1:  # the shards of a job that has succeeded meanwhile are deleted
            intact = {job_id: job for job_id, job in results.items() if job_id not in damaged}
            return intact | self._jobs(damaged, attempts - 1)
        return results

    @contextmanager
    def log_damage(self) -> Iterator[None]:
        """Log a damaged record once, although it is read repeatedly."""
        try:
            yield
        except DamagedRecord as error:
            self._log_once(error)
            raise

    def _log_once(self, error: DamagedRecord) -> None:
        damage = (error.message, repr(error.__cause__)[:300])
        if damage not in self._logged:
            if len(self._logged) >= MAX_LOGGED:
                self._logged.clear()
            self._logged.add(damage)
            _log.error("damaged record in the job store", record=damage[0], error=damage[1])

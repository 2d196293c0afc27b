"""Reads jobs and analyses for queries. A read needs several round trips, so it is not atomic."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from errata.errors import DamagedRecord, NewerRecord

from service.jobs import records
from service.jobs.records import Reply
from service.jobs.transaction import PREFIX, Backend, Command, job_command, record_command, shard_command
from service.jobs.transaction import waiting_command as waiting
from service.jobs.transitions import AnalysisRecord, Job

BATCH = 200  # records per call, so that Redis can serve other clients between two calls
MAX_LOGGED = 1000  # damaged records that are logged once
ATTEMPTS = 3  # reads of a job that ends meanwhile
_log = structlog.get_logger()


@dataclass(frozen=True)
class Snapshot:
    """A record with its job and its position in the queue."""

    record: AnalysisRecord
    job: Job | None
    queue_position: int  # open jobs created before
    live_workers: int
    now: float  # seconds of the store's clock

    @property
    def is_final(self) -> bool:
        """Whether the record and its job never change again."""
        return self.record.state.is_final and (self.job is None or self.job.state.is_final)


class Reader:
    """Reads jobs and analyses. Thread-safe."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._logged: set[tuple[str, str]] = set()  # damaged records

    def read(self, *commands: Command) -> list[Reply]:
        """Return the replies of reading commands."""
        return self._backend.read(commands)

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
        """Return analyses with their jobs, without those that do not exist. Unreadable ones are logged."""
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
    ) -> dict[str, Snapshot | DamagedRecord | NewerRecord]:
        commands = [(*record_command(analysis_id), "entry") for analysis_id in ids]
        results: dict[str, Snapshot | DamagedRecord | NewerRecord] = {}
        known: dict[str, AnalysisRecord] = {}
        *replies, open_jobs = self.read(*commands, ("ZRANGE", f"{PREFIX}open:jobs", 0, -1, "WITHSCORES"))
        for analysis_id, reply in zip(ids, replies, strict=True):
            try:
                record = records.read_record(analysis_id, reply)
                if record is not None:
                    known[analysis_id] = record
            except (DamagedRecord, NewerRecord) as error:
                results[analysis_id] = error
        jobs = self._jobs(sorted({record.job for record in known.values()}))
        created = sorted(score for _, score in records.pairs(open_jobs))
        ended = []
        for analysis_id, record in known.items():
            job = jobs.get(record.job)
            if isinstance(job, Exception):
                results[analysis_id] = job
            elif job is None and not record.state.is_final and attempts > 1:
                ended.append(analysis_id)  # it has ended since its record was read
            else:
                position = 0 if job is None else bisect_left(created, job.created)
                results[analysis_id] = Snapshot(record, job, position, num_workers, now)
        return results | (self._snapshots(ended, now, num_workers, attempts - 1) if ended else {})

    def _jobs(self, ids: Sequence[str], attempts: int = ATTEMPTS) -> dict[str, Job | DamagedRecord | NewerRecord]:
        """Return jobs by id, or the error for an unreadable one."""
        results: dict[str, Job | DamagedRecord | NewerRecord] = {}
        heads = {}
        replies = self.read(*(command for job in ids for command in ((*job_command(job), "spec"), waiting(job))))
        for job_id, fields, analyses in zip(ids, replies[::2], replies[1::2], strict=True):
            try:
                status = records.job_status(job_id, fields)
                if status is not None:
                    spec = records.read_spec(status, records.values(fields)[-1] or b"")
                    heads[job_id] = (status, spec, records.texts(analyses))
            except (DamagedRecord, NewerRecord) as error:
                results[job_id] = error
        commands: list[Command] = []
        for status, _, _ in heads.values():
            commands += [shard_command(status.id, index) for index in range(status.num_shards)]
            commands.append(("EXISTS", f"{PREFIX}job:{status.id}"))
        shards = iter(self.read(*commands))
        ended = []
        for job_id, (status, spec, waiting_ids) in heads.items():
            shard_replies = [next(shards) for _ in range(status.num_shards)]
            if not next(shards):  # it has succeeded since its fields were read
                ended.append(job_id)
                continue
            try:
                results[job_id] = records.read_job(status, spec, waiting_ids, shard_replies)
            except (DamagedRecord, NewerRecord) as error:
                results[job_id] = error
        return results | (self._jobs(ended, attempts - 1) if ended and attempts > 1 else {})

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

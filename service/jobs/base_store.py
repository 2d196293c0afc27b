"""The parts of a job store that change no job: queries, caches, workers, and numbers for metrics."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial

import structlog
from errata.errors import DamagedRecord, NewerRecord, Unavailable

from service.domain import LabelSpace, class_lines
from service.jobs import records
from service.jobs.records import ANALYSES, JOBS
from service.jobs.transaction import (
    FINISHED_TTL,
    JobTransaction,
    members_command,
    scores_command,
    shard_command,
    waiting_command,
)
from service.jobs.transitions import AnalysisRecord, Job, JobSpec, ShardResult, WorkerOffer
from service.key_value.commands import PREFIX, Backend, Command, number, text_of, texts
from service.key_value.store import Arguments, KeyValueStore, Value, atomic

HEARTBEAT_SECONDS = 30.0  # the default of ERRATA_HEARTBEAT_SECONDS
PREDICTIONS_TTL = RESULT_TTL = 30 * 86_400  # seconds
WORKERS_TTL, DEAD_TTL = 86_400, 7 * 86_400  # seconds for which stopped workers and dropped messages are stored
BATCH = 200  # records per call, so that Redis can serve other clients between two calls
ATTEMPTS = 3  # attempts to read a job that ends meanwhile
MAX_LOGGED = 1000  # damaged records that a store remembers, so that each is logged once
_log = structlog.get_logger()
Unreadable = DamagedRecord | NewerRecord
_LATEST_OFFER: Command = ("GET", f"{PREFIX}offers")


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


@dataclass(frozen=True)
class Depth:
    """Numbers of queued and running analyses and shards, and counters since the store was created."""

    queued_analyses: int
    running_analyses: int
    queued_shards: int
    running_shards: int
    oldest_queued: float  # seconds; 0 if nothing is queued
    oldest_running: float  # seconds; 0 if nothing runs
    workers: int  # number with a recent heartbeat
    refused: int  # writes of workers whose lease was lost
    crashes: int  # shards whose lease expired
    delayed: int = 0  # shards that wait for a retry
    dead: int = 0  # messages that the engine dropped during the last week


class BaseStore(KeyValueStore[JobTransaction]):
    """Reads jobs and analyses for queries, and stores inputs, cached results, and registered workers. Thread-safe.

    Queries of jobs and analyses need several round trips, so they are not atomic.

    Args:
        backend: Stores the records.
        heartbeat: Seconds without a heartbeat after which a worker is considered dead.
    """

    def __init__(self, backend: Backend, heartbeat: float = HEARTBEAT_SECONDS) -> None:
        super().__init__(backend, JobTransaction)
        self.heartbeat_timeout = heartbeat
        self.lease_seconds = heartbeat * 2 / 3  # duration of the lease of a shard
        self._last_workers: list[str] = []
        self._known_owners: dict[str, str] = {}  # owners of the jobs that wait for workers, by the id of the job
        self._ended_owners: dict[str, str] = {}  # the same of the ended analyses: reading 1,000 owners takes 40 ms
        # Final records by id and end time. Without this cache, reading 1,000 of them takes most of the time of a list.
        self._finished: dict[tuple[str, float], Snapshot] = {}
        self._logged: set[tuple[str, str]] = set()  # damaged records

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

    @atomic
    def store_inputs(
        self, tx: JobTransaction, spec: JobSpec, image_names: Sequence[str], label_space: LabelSpace
    ) -> None:
        """Store the image names and the classes of a job for workers. They have no TTL, so Redis never evicts them."""
        inputs: dict[str, Callable[[], Sequence[str]]] = {f"images:{spec.images}": lambda: image_names}
        if spec.classes:
            inputs[f"classes:{spec.classes}"] = partial(class_lines, label_space)
        tx.prefetch(*(("EXISTS", PREFIX + key) for key in inputs))
        for key, lines in inputs.items():
            if not tx.read("EXISTS", PREFIX + key):
                tx.write("SET", PREFIX + key, records.pack_names(lines()))

    def image_names(self, digest: str) -> Sequence[str]:
        """Return the image names stored under a digest; raise Unavailable if there are none."""
        return self._read_input("images", "image names", digest, records.unpack_names)

    def label_space(self, digest: str) -> LabelSpace:
        """Return the label space whose classes are stored under a digest; raise Unavailable if there is none."""
        return self._read_input("classes", "classes", digest, records.unpack_classes)

    def _read_input(self, kind: str, noun: str, digest: str, unpack: Callable[[str, bytes], Value]) -> Value:
        content = self._get(f"{kind}:{digest}")
        if content is None:
            raise Unavailable(f"The job store has no {noun} with digest {digest:.12}.")
        with self._log_damage():
            return unpack(digest, content)

    @atomic
    def store_shard_result(self, tx: JobTransaction, key: str, result: ShardResult) -> None:
        """Cache a shard's predictions for a limited time, for later requests with the same weights."""
        content = records.pack_shard_result(result)
        tx.write("SET", f"{PREFIX}predictions:{key}", content, "EX", PREDICTIONS_TTL)

    def cached_shard_result(self, key: str) -> ShardResult | None:
        """Return cached predictions of a shard; None if there are none."""
        content = self._get(f"predictions:{key}")
        with suppress(DamagedRecord), self._log_damage():
            return None if content is None else records.unpack_shard_result(content)
        return None  # if the entry is damaged, the worker predicts again

    @atomic
    def store_result(self, tx: JobTransaction, key: str, analysis_id: str) -> None:
        """Cache the id of the archived analysis that has the result of a computation, for a limited time."""
        tx.write("SET", f"{PREFIX}result:{key}", analysis_id, "EX", RESULT_TTL)

    def cached_result(self, key: str) -> str | None:
        """Return the id of the archived analysis that has the result of a computation; None if none is cached."""
        return text_of(self._get(f"result:{key}")) or None

    @atomic
    def bind_archive(self, tx: JobTransaction, archive_id: str) -> str:
        """Bind the store to an archive if it has none yet; return the id of the archive of the store.

        Args:
            archive_id: The id; empty: bind nothing. Without an archive, the store then returns an empty id.
        """
        bound = tx.get("archive")
        if archive_id and not bound:
            tx.write("SET", f"{PREFIX}archive", archive_id)
        return bound or archive_id

    @atomic
    def heartbeat(self, tx: JobTransaction, worker: str, offer: WorkerOffer | None = None) -> None:
        """Store the heartbeat and the offer of a worker."""
        tx.note_time("workers", worker, WORKERS_TTL)
        if offer is not None:
            content = records.to_json(asdict(offer))
            tx.write("SET", f"{PREFIX}offers:{worker}", content, "EX", max(1, round(self.heartbeat_timeout)))
            tx.write("SET", f"{PREFIX}offers", content)  # the latest offer, which is used while no worker is alive

    @atomic
    def remove_worker(self, tx: JobTransaction, worker: str) -> None:
        """Remove a worker that has stopped."""
        tx.write("DEL", f"{PREFIX}offers:{worker}")
        tx.write("ZREM", f"{PREFIX}workers", worker)

    @atomic
    def offers(self, tx: JobTransaction) -> Sequence[WorkerOffer]:
        """Return the offers of the live workers. If no worker is live, return only the latest offer."""
        # Usually the live workers are those of the last call, so one round trip is enough.
        tx.prefetch(scores_command("workers"), _LATEST_OFFER, *map(_offer_command, self._last_workers))
        self._last_workers = tx.live_workers(self.heartbeat_timeout)
        tx.prefetch(*map(_offer_command, self._last_workers))
        contents = [tx.get(f"offers:{worker}") for worker in self._last_workers]
        offers = []
        for content in filter(None, contents if any(contents) else [tx.get("offers")]):
            with suppress(DamagedRecord), self._log_damage():
                offers.append(records.offer_from_json(content))
        return offers

    @atomic
    def count_dead_message(self, tx: JobTransaction, message_id: str) -> None:
        """Count a message that the engine dropped."""
        tx.note_time("dead", message_id, DEAD_TTL)

    @atomic
    def depth(self, tx: JobTransaction) -> Depth:
        """Return the depth of the queues and the counters of the store."""
        counters = ("ZCARD", f"{PREFIX}open:models"), ("GET", f"{PREFIX}refused"), ("GET", f"{PREFIX}crashes")
        tx.prefetch(*counters, *map(scores_command, ("open:analyses", "leases", "retries", "dead", "workers")))
        open_shards, refused, crashes = (int(number(tx.read(*counter))) for counter in counters)
        created_times = dict(tx.scores("open:analyses"))
        state_commands = {id: ("HMGET", f"{PREFIX}analysis:{id}", "state") for id in created_times}
        tx.prefetch(*state_commands.values())
        ages: dict[str, list[float]] = {"QUEUED": [0.0], "RUNNING": [0.0]}
        for id, created in created_times.items():
            (state,) = texts(tx.read(*state_commands[id]))
            ages.get(state, []).append(tx.now - created)
        running = sum(lease > tx.now for _, lease in tx.scores("leases"))
        return Depth(
            queued_analyses=len(ages["QUEUED"]) - 1,
            running_analyses=len(ages["RUNNING"]) - 1,
            queued_shards=max(0, open_shards - running),
            running_shards=running,
            oldest_queued=max(ages["QUEUED"]),
            oldest_running=max(ages["RUNNING"]),
            workers=len(tx.live_workers(self.heartbeat_timeout)),
            refused=refused,
            crashes=crashes,
            delayed=sum(time > tx.now for _, time in tx.scores("retries")),
            dead=sum(time > tx.now - DEAD_TTL for _, time in tx.scores("dead")),
        )

    @contextmanager
    def _log_damage(self) -> Iterator[None]:
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


def _offer_command(worker: str) -> Command:
    return "GET", f"{PREFIX}offers:{worker}"


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

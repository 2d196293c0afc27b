"""The job store in Redis. Each transition is one atomic call of transitions.lua. The clock is that of the Redis server.

errata:analysis:{id}      hash    entry (the record, JSON), request_id, job, state, failure (JSON), ended
errata:job:{id}           hash    spec (JSON), dedupe, created, state, shards, left, started, judge_fence, failure, sent
errata:job:{id}:analyses  set     the analyses that wait for the job
errata:shard:{id}:{k}     hash    state, fence, lease, worker, began, crashes, retries, retry_at, done, sent
errata:part:{id}:{k}      string  a shard's predictions, npz
errata:request:{id}       hash    digest of the body, and the analysis
errata:delivery:{key}     string  the analysis of a registry's delivery; TTL two days
errata:dedupe:{digest}    string  the open job of a computation
errata:analyses           zset    all analyses in Redis, by creation time
errata:finished           zset    the last 1,000 failed and canceled analyses, by end time
errata:open:analyses      zset    analyses that are not final, by creation time
errata:open:jobs          zset    jobs that are not final, by creation time
errata:open:models        zset    shards that are not done, by creation time; autoscaling counts them
errata:images:{digest}    string  image names, compressed
errata:predictions:{key}  string  cached predictions of a shard by weights, transform and images, npz
errata:result:{key}       string  the archived analysis that has the result of a computation and a bundle
errata:archive            string  the id of the archive that belongs to this Redis
errata:workers            zset    workers, by last heartbeat
errata:offers:{worker}    string  the offer of a worker (JSON)
errata:offers             string  the latest offer (JSON)
errata:owed               zset    outbox: analyses whose result must be written back to a registry, by due time
errata:owed:tries         hash    outbox: failed attempts
errata:started:models     string  the latest `sent` of a claimed shard
errata:refused            string  number of refused writes of workers whose lease was lost
errata:crashes            string  number of shards whose lease expired

Records, specs, and offers are JSON with a schema version (domain/schema_version.py), so that two versions of Errata can
share a Redis. Final analyses have a TTL of a week, and at most 1,000 of them are stored. Cached predictions have a TTL
of a month. Other keys have no TTL, so that Redis does not evict them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from importlib.resources import files
from typing import Any

import redis
import structlog
from errata.errors import DamagedRecord, NewerRecord, Unavailable
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.domain import Failure
from service.jobs.breaker import CircuitBreaker, CircuitOpen
from service.jobs.finished_cache import FinishedCache
from service.jobs.redis_records import (
    SCHEMA,
    check_newer,
    job_arguments,
    job_from_reply,
    offer_from_json,
    pack_names,
    pack_shard_result,
    record_json,
    snapshot_from_reply,
    submission_from_reply,
    to_json,
    unpack_names,
    unpack_shard_result,
)
from service.jobs.store import Depth, MemoryUsage, Snapshot, Submission, WorkerOffer
from service.jobs.transitions import (
    AnalysisRecord,
    Claim,
    ClaimOutcome,
    Job,
    JobSpec,
    LeaseReply,
    OutboxItem,
    ShardResult,
)

PREDICTIONS_TTL = RESULT_TTL = 30 * 86_400  # seconds
MESSAGES = "errata:mq"  # prefix of the engine's keys; transitions.lua reads the lengths of its lists
_log = structlog.get_logger()
BATCH = 200  # records per call, so that Redis can serve other clients between two calls
CONNECTIONS = 32  # connections of one process; further callers wait
CONNECT_TIMEOUT = 1.0  # seconds
MAX_LOGGED = 1000  # damaged records that are logged once
UNAVAILABLE_ERRORS = (redis.ConnectionError, redis.TimeoutError)  # the errors of a Redis that does not answer
RETRY_AFTER = 2.0  # seconds, in the error for callers while Redis is unavailable


def connect(url: str, timeout: float) -> redis.Redis:
    """Return a client whose calls time out after `timeout` seconds.

    It never repeats a call, because a call that timed out may have been executed.
    """
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=timeout,
        socket_timeout=timeout,
        socket_connect_timeout=min(timeout, CONNECT_TIMEOUT),
        retry=Retry(NoBackoff(), 0),
    )
    return redis.Redis(connection_pool=pool)


class RedisJobStore:
    """A job store in Redis. Raises Unavailable while Redis does not answer. Thread-safe.

    After a call that timed out, calls fail immediately until Redis answers a probe.

    Args:
        client: Client of Redis.
        clock: Returns seconds since the epoch; None: the clock of the Redis server.
    """

    def __init__(self, client: redis.Redis, clock: Callable[[], float] | None = None) -> None:
        self._client: Any = client  # redis-py's return types also cover pipelines and asyncio
        self._clock = clock
        self._finished = FinishedCache()
        self._breaker = CircuitBreaker(self._is_answering)
        self._logged: set[tuple[str, str]] = set()  # damaged records
        script = (files("service.jobs") / "transitions.lua").read_text(encoding="utf-8")
        self._script: Any = client.register_script(script)

    def submit(self, record: AnalysisRecord, spec: JobSpec, *, fresh: bool, limit: int) -> Submission:
        """Submit an analysis."""
        head = [record.id, record_json(record), record.request.request_id, record.request_digest]
        return submission_from_reply(
            self._run(
                "submit", *head, *job_arguments(spec), int(fresh), limit, int(record.needs_write_back), record.delivery
            )
        )

    def resubmit(self, record: AnalysisRecord, spec: JobSpec, *, limit: int) -> Submission | None:
        """Queue a failed analysis again under the same id."""
        head = [record.id, record_json(record), record.request.request_id]
        reply = self._run("resubmit", *head, *job_arguments(spec), int(spec.fresh), limit, int(record.needs_write_back))
        return submission_from_reply(reply) if reply else None

    def reserve(
        self,
        request_id: str,
        request_digest: str,
        analysis_id: str,
        *,
        needs_write_back: bool = False,
        delivery: str = "",
    ) -> Submission:
        """Bind a request ID to an analysis that needs no job."""
        reply = self._run("reserve", request_id, request_digest, analysis_id, int(needs_write_back), delivery)
        return submission_from_reply(reply)

    def release_request_id(self, request_id: str) -> None:
        """Release a reserved request ID."""
        if request_id:
            self._run("release_request_id", request_id)

    def store_image_names(self, digest: str, names: Sequence[str]) -> None:
        """Store the names of a data set's images."""
        with self._translate_errors():
            key = f"errata:images:{digest}"  # no TTL, so that the key is never evicted: open jobs need it
            if not self._client.exists(key):
                self._client.set(key, pack_names(names))

    def image_names(self, digest: str) -> Sequence[str]:
        """Return the image names stored under a digest."""
        with self._translate_errors():
            content = self._client.get(f"errata:images:{digest}")
        if content is None:
            raise Unavailable(f"The job store has no image names with digest {digest[:12]}.")
        with self._log_damage():
            return unpack_names(digest, content)

    def snapshot(self, analysis_id: str) -> Snapshot | None:
        """Return a record with its job."""
        reply = self._run("snapshot", analysis_id)
        with self._log_damage():
            return snapshot_from_reply(analysis_id, reply) if reply else None

    def records(self) -> Sequence[Snapshot]:
        """Return all records with their jobs."""
        members, finished, workers, now = self._run("list")
        ids = [member.decode(errors="replace") for member in members]
        snapshots = self._finished.get_cached(finished)
        snapshots |= self._fetch_snapshots([analysis_id for analysis_id in ids if analysis_id not in snapshots])
        self._finished.replace(finished, snapshots)
        ordered = [snapshots[analysis_id] for analysis_id in ids if analysis_id in snapshots]
        return [replace(snapshot, live_workers=int(workers), now=float(now)) for snapshot in ordered]

    def _fetch_snapshots(self, ids: Sequence[str]) -> dict[str, Snapshot]:
        """Return records by id, without those that have expired or cannot be read."""
        snapshots = {}
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            for analysis_id, reply in zip(batch, self._run("snapshots", *batch), strict=True):
                snapshot = self._decode_or_skip(analysis_id, reply)
                if snapshot is not None:
                    snapshots[analysis_id] = snapshot
        return snapshots

    def _decode_or_skip(self, analysis_id: str, reply: Sequence[Any]) -> Snapshot | None:
        """Return a record of a list; None if it has expired. An unreadable record is logged and also None."""
        try:
            with self._log_damage():
                return snapshot_from_reply(analysis_id, reply) if reply else None
        except NewerRecord as error:
            _log.warning("open analysis skipped", error=error.message)
        except DamagedRecord:
            pass
        return None

    def job(self, job_id: str) -> Job | None:
        """Return a job."""
        reply = self._run("job", job_id)
        with self._log_damage():
            return job_from_reply(job_id, reply) if reply else None

    def cancel(self, analysis_id: str, reason: str) -> bool:
        """Cancel an analysis."""
        return bool(self._run("cancel", analysis_id, to_json(asdict(Failure("CANCELLED", reason)))))

    def delete(self, analysis_id: str) -> bool:
        """Delete a final record."""
        return bool(self._run("delete", analysis_id))

    def claim_shard(self, job_id: str, shard: int, worker: str, lease: float) -> Claim:
        """Claim a shard."""
        kind, fencing_token, delay = self._run("claim_shard", job_id, shard, worker, lease)
        return Claim(ClaimOutcome(kind.decode()), int(fencing_token), float(delay))

    def renew_lease(self, job_id: str, shard: int, fencing_token: int, lease: float) -> LeaseReply:
        """Renew the lease of a shard."""
        return LeaseReply(self._run("report", job_id, shard, fencing_token, "lease", lease).decode())

    def report_progress(self, job_id: str, shard: int, fencing_token: int, done: int) -> LeaseReply:
        """Store the number of predicted images of a shard."""
        return LeaseReply(self._run("report", job_id, shard, fencing_token, "done", done).decode())

    def finish_shard(self, job_id: str, shard: int, fencing_token: int, result: ShardResult) -> int | None:
        """Store a shard's predictions."""
        size, content = len(result.predictions.top1), pack_shard_result(result)
        left = int(self._run("finish_shard", job_id, shard, fencing_token, size, content))
        return None if left < 0 else left

    def store_shard_result(self, key: str, result: ShardResult) -> None:
        """Cache a shard's predictions for a month, unless Redis evicts them."""
        with self._translate_errors():
            self._client.set(f"errata:predictions:{key}", pack_shard_result(result), ex=PREDICTIONS_TTL)

    def cached_shard_result(self, key: str) -> ShardResult | None:
        """Return cached predictions of a shard."""
        with self._translate_errors():
            content = self._client.get(f"errata:predictions:{key}")
        with suppress(DamagedRecord), self._log_damage():
            return None if content is None else unpack_shard_result(content)
        return None  # damaged: the worker predicts again

    def store_result(self, key: str, analysis_id: str) -> None:
        """Cache the id of the archived analysis that has a result, for a month."""
        with self._translate_errors():
            self._client.set(f"errata:result:{key}", analysis_id, ex=RESULT_TTL)

    def cached_result(self, key: str) -> str | None:
        """Return the id of the archived analysis that has a result."""
        with self._translate_errors():
            analysis_id = self._client.get(f"errata:result:{key}")
        return None if analysis_id is None else str(analysis_id.decode())

    def due_outbox_items(self, lease: float, limit: int = 100) -> Sequence[OutboxItem]:
        """Lease due outbox items whose analyses have ended."""
        items = self._run("due_outbox_items", lease, limit)
        return [OutboxItem(analysis.decode(), int(attempts)) for analysis, attempts in items]

    def postpone_outbox_item(self, analysis_id: str, delay: float, *, failed: bool) -> None:
        """Postpone an outbox item."""
        self._run("postpone_outbox_item", analysis_id, delay, int(failed))

    def delete_outbox_item(self, analysis_id: str) -> None:
        """Delete an outbox item."""
        self._run("delete_outbox_item", analysis_id)

    def release_shard(self, job_id: str, shard: int, fencing_token: int) -> bool:
        """Queue a shard again without counting a retry."""
        return bool(self._run("release_shard", job_id, shard, fencing_token))

    def retry_shard(self, job_id: str, shard: int, fencing_token: int, failure: Failure) -> float | None:
        """Queue a shard again after a transient error."""
        delay = self._run("retry_shard", job_id, shard, fencing_token, to_json(asdict(failure)))
        return float(delay) if delay else None

    def fail_job(self, job_id: str, shard: int, fencing_token: int, failure: Failure) -> bool:
        """End a job as failed."""
        return bool(self._run("fail_job", job_id, shard, fencing_token, to_json(asdict(failure))))

    def shard_results(self, job_id: str) -> Sequence[ShardResult]:
        """Return the predictions of all finished shards, in order."""
        job = self.job(job_id)
        if job is None or job.state.is_final:
            return []
        with self._translate_errors():
            contents = self._client.mget([f"errata:part:{job_id}:{shard}" for shard in range(job.spec.num_shards)])
        with self._log_damage():
            return [unpack_shard_result(content) for content in contents if content is not None]

    def claim_judging(self, job_id: str) -> int | None:
        """Claim the judging of a job."""
        return int(self._run("claim_judging", job_id)) or None

    def finish_job(self, job_id: str, fencing_token: int, failure: Failure | None = None) -> bool:
        """End a judged job."""
        return bool(self._run("finish_job", job_id, fencing_token, to_json(asdict(failure)) if failure else ""))

    def bind_archive(self, archive_id: str) -> str:
        """Bind Redis to an archive unless it is bound."""
        return str(self._run("bind_archive", archive_id).decode(errors="replace"))

    def heartbeat(self, worker: str, offer: WorkerOffer | None = None) -> None:
        """Store the heartbeat and the offer of a worker."""
        self._run("heartbeat", worker, to_json(asdict(offer)) if offer else "")

    def remove_worker(self, worker: str) -> None:
        """Remove a worker that has stopped."""
        self._run("remove_worker", worker)

    def offers(self) -> Sequence[WorkerOffer]:
        """Return the offers of the live workers; if there are none, the latest offer."""
        offers = []
        for content in self._run("offers"):
            with suppress(DamagedRecord), self._log_damage():
                offers.append(offer_from_json(content))
        return offers

    def depth(self) -> Depth:
        """Return the depth of the queues and the counters of the store."""
        reply = self._run("depth")
        queued, running, queued_shards, running_shards = map(int, reply[:4])
        workers, refused, crashes, delayed, dead = map(int, reply[6:])
        return Depth(
            queued_analyses=queued,
            running_analyses=running,
            queued_shards=queued_shards,
            running_shards=running_shards,
            oldest_queued=float(reply[4]),
            oldest_running=float(reply[5]),
            workers=workers,
            refused=refused,
            crashes=crashes,
            delayed=delayed,
            dead=dead,
        )

    def memory_usage(self) -> MemoryUsage:
        """Return the memory that Redis uses, for all its clients."""
        with self._translate_errors():
            info = self._client.info("memory")
        return MemoryUsage(int(info["used_memory"]), int(info.get("maxmemory", 0)))

    def lost_messages(self, heartbeat_timeout: float) -> Sequence[tuple[str, int | None]]:
        """Return the jobs and shards whose message seems to be lost, and mark them as sent now."""
        members = self._run("lost_messages", heartbeat_timeout)
        split = [member.decode().partition(":") for member in members]
        return [(job, int(shard) if colon else None) for job, colon, shard in split]

    def ping(self) -> bool:
        """Return whether Redis answers."""
        try:
            with self._breaker.call(*UNAVAILABLE_ERRORS):
                return bool(self._client.ping())
        except (redis.RedisError, CircuitOpen):
            return False

    @contextmanager
    def _log_damage(self) -> Iterator[None]:
        """Log a damaged record once, although it is read repeatedly."""
        try:
            yield
        except DamagedRecord as error:
            damage = (error.message, repr(error.__cause__)[:300])
            if damage not in self._logged:
                if len(self._logged) >= MAX_LOGGED:
                    self._logged.clear()
                self._logged.add(damage)
                _log.error("damaged record in Redis", record=damage[0], error=damage[1])
            raise

    def _run(self, transition: str, *arguments: object) -> Any:
        """Run a transition of transitions.lua."""
        now = "" if self._clock is None else repr(self._clock())
        with self._translate_errors():
            return self._script(args=[transition, now, SCHEMA, *arguments])

    def _is_answering(self) -> bool:
        """Return whether Redis answers, even while the breaker is open."""
        try:
            return bool(self._client.ping())
        except redis.RedisError:
            return False

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Raise Unavailable for the errors of Redis, and while the breaker is open."""
        try:
            with self._breaker.call(*UNAVAILABLE_ERRORS):
                yield
        except CircuitOpen as error:
            raise Unavailable(
                "The job store (Redis) does not answer. Try again later.", retry_after=RETRY_AFTER
            ) from error
        except redis.AuthenticationError as error:
            raise Unavailable(
                "The job store (Redis) rejects the service's credentials. Correct the password in ERRATA_REDIS_URL.",
                retry_after=RETRY_AFTER,
                detail=f"{error!s:.120}",
            ) from error
        except redis.RedisError as error:
            check_newer(str(error))
            if isinstance(error, redis.ResponseError):  # a full disk, a replica, or a bug
                _log.exception("Redis command failed")
            raise Unavailable(
                "The job store (Redis) is unavailable. Try again later.",
                retry_after=RETRY_AFTER,
                detail=f"{error!s:.120}",
            ) from error

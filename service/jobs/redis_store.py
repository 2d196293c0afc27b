"""The job store in Redis: every move is one call of moves.lua, so it is atomic; time is the server's own.

errata:analysis:{id}      hash    entry (JSON), request_id, job, state, failure (JSON), ended
errata:job:{id}           hash    spec (JSON), dedupe, created, state, shards, left, started, judge_fence, failure, sent
errata:job:{id}:analyses  set     the analyses that wait for it
errata:shard:{id}:{k}     hash    state, fence, lease, worker, began, crashes, retries, retry_at, done, sent
errata:part:{id}:{k}      string  a shard's predictions, npz
errata:request:{id}       hash    digest of the body, and the analysis
errata:delivery:{key}     string  the analysis that a registry's delivery made; TTL two days
errata:dedupe:{digest}    string  the open job that computes it
errata:analyses           zset    every analysis here, by time
errata:finished           zset    the last 1,000 analyses that failed or were cancelled, by their end
errata:open:analyses, errata:open:jobs   zset   those not final, by time
errata:open:models        zset    shards not done, by time: what autoscaling counts
errata:images:{digest}    string  image names, packed
errata:predictions:{key}  string  a shard's predictions by weights, transform and images, npz
errata:result:{key}       string  the archived analysis that has a computation's result by one bundle
errata:archive            string  the id of the archive that belongs to this Redis
errata:workers            zset    workers, by their last beat
errata:offers:{worker}    string  what a worker can do (JSON); errata:offers what the last one could
errata:owed               zset    analyses whose registry is to be told, by when that is due
errata:owed:tries         hash    how often telling it failed
errata:started:models     string  the latest sent of any claimed shard
errata:refused            string  how many reports and results came too late
errata:crashes            string  how many shards were taken from a worker that fell silent
Records, specs and offers are JSON with a schema version (domain/schema_version.py): two versions can share a Redis.
What is final has a TTL of a week (beyond 1,000 it goes before that), predictions one of a month; nothing else has one,
so that eviction takes no more.
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
    dumped,
    entry_document,
    job_arguments,
    job_of,
    offer_of,
    packed,
    packed_names,
    snapshot_of,
    submission_of,
    unpacked,
    unpacked_names,
)
from service.jobs.store import Depth, Snapshot, StoreMemory, Submission, WorkerOffer
from service.jobs.transitions import AnalysisRecord, Claim, ClaimKind, Job, JobSpec, LeaseReply, OutboxItem, ShardResult

PREDICTIONS_TTL = RESULT_TTL = 30 * 86_400  # seconds
MESSAGES = "errata:mq"  # the engine's keys; moves.lua looks how long its lists are
_log = structlog.get_logger()
BATCH = 200  # entries that one call fetches: few enough for Redis to serve others between two calls
CONNECTIONS = 32  # of one process; more callers wait
CONNECT_TIMEOUT = 1.0  # seconds
MOST_TOLD = 1000  # damaged records that are remembered
AWAY = (redis.ConnectionError, redis.TimeoutError)  # errors that mean that Redis does not answer
RETRY_AFTER = 2.0  # seconds, for who finds Redis away


def connect(url: str, timeout: float) -> redis.Redis:
    """Return a client that gives up after `timeout` seconds and never repeats a call: what came of it isn't known."""
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
    """Keeps records in Redis. Raises Unavailable while Redis is away; safe to use from several threads.

    After a call that waited for Redis in vain, calls fail at once until a probe finds it there again.
    """

    def __init__(self, client: redis.Redis, clock: Callable[[], float] | None = None) -> None:
        self._client: Any = client  # its methods' types cover pipelines and asyncio too
        self._clock = clock  # None: the server's own
        self._finished = FinishedCache()
        self._breaker = CircuitBreaker(self._answers)
        self._told: set[tuple[str, str]] = set()  # damaged records that stand in the log
        self._script: Any = client.register_script((files("service.jobs") / "moves.lua").read_text(encoding="utf-8"))

    def submit(self, record: AnalysisRecord, spec: JobSpec, *, fresh: bool, limit: int) -> Submission:
        """Accept a request."""
        head = [record.id, entry_document(record), record.request.request_id, record.request_digest]
        return submission_of(
            self._move("submit", *head, *job_arguments(spec), int(fresh), limit, int(record.owed), record.delivery)
        )

    def resubmit(self, record: AnalysisRecord, spec: JobSpec, *, limit: int) -> Submission | None:
        """Queue an entry that has failed again."""
        head = [record.id, entry_document(record), record.request.request_id]
        said = self._move("resubmit", *head, *job_arguments(spec), int(spec.fresh), limit, int(record.owed))
        return submission_of(said) if said else None

    def reserve(
        self, request_id: str, request_digest: str, analysis_id: str, *, owed: bool = False, delivery: str = ""
    ) -> Submission:
        """Bind a request id to an analysis that needs no job."""
        return submission_of(self._move("reserve", request_id, request_digest, analysis_id, int(owed), delivery))

    def release(self, request_id: str) -> None:
        """Give a reserved request id free."""
        if request_id:
            self._move("release", request_id)

    def remember_images(self, digest: str, names: Sequence[str]) -> None:
        """Keep the names of a data set's images."""
        with self._available():
            key = f"errata:images:{digest}"  # without a TTL, so that it is never evicted: open jobs need it
            if not self._client.exists(key):
                self._client.set(key, packed_names(names))

    def images(self, digest: str) -> Sequence[str]:
        """Return the names kept under a digest."""
        with self._available():
            content = self._client.get(f"errata:images:{digest}")
        if content is None:
            raise Unavailable(f"no image names are kept under {digest[:12]}")
        with self._telling():
            return unpacked_names(digest, content)

    def snapshot(self, analysis_id: str) -> Snapshot | None:
        """Return an entry and its job."""
        result = self._move("snapshot", analysis_id)
        with self._telling():
            return snapshot_of(analysis_id, result) if result else None

    def entries(self) -> Sequence[Snapshot]:
        """Return every entry."""
        members, finished, workers, now = self._move("listed")
        ids = [member.decode(errors="replace") for member in members]
        snapshots = self._finished.known(finished)
        snapshots |= self._fetched([analysis_id for analysis_id in ids if analysis_id not in snapshots])
        self._finished.remember(finished, snapshots)
        listed = [snapshots[analysis_id] for analysis_id in ids if analysis_id in snapshots]
        return [replace(snapshot, live_workers=int(workers), now=float(now)) for snapshot in listed]

    def _fetched(self, ids: Sequence[str]) -> dict[str, Snapshot]:
        """Return entries by id, fetched in batches, without those that are gone or can't be read."""
        result = {}
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            for analysis_id, record in zip(batch, self._move("snapshots", *batch), strict=True):
                snapshot = self._readable(analysis_id, record)
                if snapshot is not None:
                    result[analysis_id] = snapshot
        return result

    def _readable(self, analysis_id: str, record: Sequence[Any]) -> Snapshot | None:
        """Return an entry of a list; None for one that is gone, or that this version can't read, which is logged."""
        try:
            with self._telling():
                return snapshot_of(analysis_id, record) if record else None
        except NewerRecord as error:
            _log.warning("an open analysis is left out", error=error.message)
        except DamagedRecord:
            pass
        return None

    def job(self, job_id: str) -> Job | None:
        """Return a job."""
        result = self._move("job", job_id)
        with self._telling():
            return job_of(job_id, result) if result else None

    def cancel(self, analysis_id: str, reason: str) -> bool:
        """Cancel an entry."""
        return bool(self._move("cancel", analysis_id, dumped(asdict(Failure("CANCELLED", reason)))))

    def forget(self, analysis_id: str) -> bool:
        """Remove a final entry."""
        return bool(self._move("forget", analysis_id))

    def claim(self, job_id: str, shard: int, worker: str, lease: float) -> Claim:
        """Try to take a shard."""
        kind, fencing_token, delay = self._move("claim", job_id, shard, worker, lease)
        return Claim(ClaimKind(kind.decode()), int(fencing_token), float(delay))

    def renew_lease(self, job_id: str, shard: int, fencing_token: int, lease: float) -> LeaseReply:
        """Renew a hold."""
        return LeaseReply(self._move("report", job_id, shard, fencing_token, "lease", lease).decode())

    def progress(self, job_id: str, shard: int, fencing_token: int, done: int) -> LeaseReply:
        """Write how many images are predicted."""
        return LeaseReply(self._move("report", job_id, shard, fencing_token, "done", done).decode())

    def finish_shard(self, job_id: str, shard: int, fencing_token: int, part: ShardResult) -> int | None:
        """Keep a shard's predictions."""
        left = int(self._move("finish_shard", job_id, shard, fencing_token, len(part.predictions.top1), packed(part)))
        return None if left < 0 else left

    def store_shard_result(self, key: str, part: ShardResult) -> None:
        """Keep a shard's predictions for a month, unless Redis needs the room."""
        with self._available():
            self._client.set(f"errata:predictions:{key}", packed(part), ex=PREDICTIONS_TTL)

    def cached_shard_result(self, key: str) -> ShardResult | None:
        """Return predictions that were kept."""
        with self._available():
            content = self._client.get(f"errata:predictions:{key}")
        with suppress(DamagedRecord), self._telling():
            return None if content is None else unpacked(content)
        return None  # they are computed anew

    def store_result(self, key: str, analysis_id: str) -> None:
        """Keep which archived analysis has a result, for a month."""
        with self._available():
            self._client.set(f"errata:result:{key}", analysis_id, ex=RESULT_TTL)

    def result(self, key: str) -> str | None:
        """Return the analysis that was kept."""
        with self._available():
            result = self._client.get(f"errata:result:{key}")
        return None if result is None else str(result.decode())

    def owed(self, lease: float, most: int = 100) -> Sequence[OutboxItem]:
        """Take the analyses that are due to be told."""
        return [OutboxItem(analysis.decode(), int(tries)) for analysis, tries in self._move("owed", lease, most)]

    def postpone(self, analysis_id: str, delay: float, *, failed: bool) -> None:
        """Let an owed analysis come again later."""
        self._move("postpone", analysis_id, delay, int(failed))

    def settle(self, analysis_id: str) -> None:
        """Note that an analysis isn't owed any more."""
        self._move("settle", analysis_id)

    def release_shard(self, job_id: str, shard: int, fencing_token: int) -> bool:
        """Queue a shard again."""
        return bool(self._move("hand_back", job_id, shard, fencing_token))

    def retry(self, job_id: str, shard: int, fencing_token: int, failure: Failure) -> float | None:
        """Queue a shard again after a transient error."""
        delay = self._move("retry", job_id, shard, fencing_token, dumped(asdict(failure)))
        return float(delay) if delay else None

    def fail(self, job_id: str, shard: int, fencing_token: int, failure: Failure) -> bool:
        """End a job as failed."""
        return bool(self._move("fail", job_id, shard, fencing_token, dumped(asdict(failure))))

    def parts(self, job_id: str) -> Sequence[ShardResult]:
        """Return the predictions of all shards."""
        job = self.job(job_id)
        if job is None or job.state.final:
            return []
        with self._available():
            packed = self._client.mget([f"errata:part:{job_id}:{shard}" for shard in range(job.spec.num_shards)])
        with self._telling():
            return [unpacked(item) for item in packed if item is not None]

    def claim_judging(self, job_id: str) -> int | None:
        """Take the judging of a job."""
        return int(self._move("claim_judging", job_id)) or None

    def finish(self, job_id: str, fencing_token: int, failure: Failure | None = None) -> bool:
        """End a judged job."""
        return bool(self._move("finish", job_id, fencing_token, dumped(asdict(failure)) if failure else ""))

    def bind_archive(self, archive_id: str) -> str:
        """Bind Redis to an archive; a Redis that was replaced is bound anew."""
        return str(self._move("bind_archive", archive_id).decode(errors="replace"))

    def worker_alive(self, worker: str, offer: WorkerOffer | None = None) -> None:
        """Note that a worker lives, and what it can load."""
        self._move("alive", worker, dumped(asdict(offer)) if offer else "")

    def worker_gone(self, worker: str) -> None:
        """Note that a worker has ended."""
        self._move("gone", worker)

    def offers(self) -> Sequence[WorkerOffer]:
        """Return what the live workers can do; without any, what the last one could."""
        result = []
        for item in self._move("offers"):
            with suppress(DamagedRecord), self._telling():
                result.append(offer_of(item))
        return result

    def depth(self) -> Depth:
        """Return how much waits or runs, how many workers live, and what went wrong."""
        said = self._move("depth")
        queued, running, queued_shards, running_shards = map(int, said[:4])
        workers, refused, crashes, delayed, dead = map(int, said[6:])
        return Depth(
            queued_analyses=queued,
            running_analyses=running,
            queued_shards=queued_shards,
            running_shards=running_shards,
            oldest_queued=float(said[4]),
            oldest_running=float(said[5]),
            workers=workers,
            refused=refused,
            crashes=crashes,
            delayed=delayed,
            dead=dead,
        )

    def memory(self) -> StoreMemory:
        """Return what Redis takes, for whatever it is used."""
        with self._available():
            said = self._client.info("memory")
        return StoreMemory(int(said["used_memory"]), int(said.get("maxmemory", 0)))

    def overdue(self, heartbeat: float) -> Sequence[tuple[str, int | None]]:
        """Return the shards, and with None the judgings, whose message seems to be lost; they count as sent now."""
        result = self._move("overdue", heartbeat)
        split = [member.decode().partition(":") for member in result]
        return [(job, int(shard) if colon else None) for job, colon, shard in split]

    def ping(self) -> bool:
        """Say whether Redis answers."""
        try:
            with self._breaker.call(*AWAY):
                return bool(self._client.ping())
        except (redis.RedisError, CircuitOpen):
            return False

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Log a record that is damaged, once: it is looked at again and again."""
        try:
            yield
        except DamagedRecord as error:
            said = (error.message, repr(error.__cause__)[:300])
            if said not in self._told:
                if len(self._told) >= MOST_TOLD:
                    self._told.clear()
                self._told.add(said)
                _log.error("a record in Redis can't be read", record=said[0], error=said[1])
            raise

    def _move(self, move: str, *arguments: object) -> Any:
        now = "" if self._clock is None else repr(self._clock())
        with self._available():
            return self._script(args=[move, now, SCHEMA, *arguments])

    def _answers(self) -> bool:
        """Return whether Redis answers, breaker or not."""
        try:
            return bool(self._client.ping())
        except redis.RedisError:
            return False

    @contextmanager
    def _available(self) -> Iterator[None]:
        """Raise Unavailable where Redis is away, or has been found so a moment ago."""
        try:
            with self._breaker.call(*AWAY):
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
            if isinstance(error, redis.ResponseError):  # it answers, but can't or won't: a full disk, a replica, a bug
                _log.exception("Redis refuses")
            raise Unavailable(
                "The job store (Redis) is unavailable. Try again later.",
                retry_after=RETRY_AFTER,
                detail=f"{error!s:.120}",
            ) from error

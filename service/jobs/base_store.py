"""The parts of a job store that do not concern single jobs: caches, workers, and numbers for metrics."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

from errata.errors import DamagedRecord, Unavailable

from service.domain import LabelSpace
from service.jobs import records
from service.jobs.reader import Reader, Snapshot
from service.jobs.transaction import JobTransaction
from service.jobs.transitions import ShardResult, WorkerOffer
from service.key_value.commands import PREFIX, Backend, Reply, format_time, number, pairs, text_of, texts, time_of
from service.key_value.store import KeyValueStore, atomic

HEARTBEAT_SECONDS = 30.0  # the default of ERRATA_HEARTBEAT_SECONDS
PREDICTIONS_TTL = RESULT_TTL = 30 * 86_400  # seconds
WORKERS_TTL, DEAD_TTL = 86_400, 7 * 86_400  # seconds for which stopped workers and dropped messages are stored


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
    """Stores cached results and registered workers. Thread-safe.

    Args:
        backend: Stores the records.
        heartbeat: Seconds without a heartbeat after which a worker is considered dead.
    """

    def __init__(self, backend: Backend, heartbeat: float = HEARTBEAT_SECONDS) -> None:
        super().__init__(backend, JobTransaction)
        self.heartbeat_timeout = heartbeat
        self._reader = Reader(backend)
        # Final records by id and end time. Without this cache, reading 1,000 of them takes most of the time of a list.
        self._finished: dict[tuple[str, float], Snapshot] = {}
        self._last_workers: list[str] = []

    def store_image_names(self, digest: str, names: Sequence[str]) -> None:
        """Store the names of a data set's images for workers. The key has no TTL, so Redis never evicts it."""
        self._store_lines(f"images:{digest}", names)

    def image_names(self, digest: str) -> Sequence[str]:
        """Return the image names stored under a digest; raise Unavailable if there are none."""
        content = self._get(f"images:{digest}")
        if content is None:
            raise Unavailable(f"The job store has no image names with digest {digest[:12]}.")
        with self._reader.log_damage():
            return records.unpack_names(digest, content)

    def store_classes(self, digest: str, lines: Sequence[str]) -> None:
        """Store the classes of a label space for workers, as the lines that `class_lines` returns."""
        self._store_lines(f"classes:{digest}", lines)

    def label_space(self, digest: str) -> LabelSpace:
        """Return the label space whose classes are stored under a digest; raise Unavailable if there is none."""
        content = self._get(f"classes:{digest}")
        if content is None:
            raise Unavailable(f"The job store has no classes with digest {digest[:12]}.")
        with self._reader.log_damage():
            return records.unpack_classes(digest, content)

    def _store_lines(self, key: str, lines: Sequence[str]) -> None:
        if not self._read(("EXISTS", PREFIX + key))[0]:
            content = records.pack_names(lines)
            self.run(lambda tx: tx.write("SET", PREFIX + key, content))

    @atomic
    def store_shard_result(self, tx: JobTransaction, key: str, result: ShardResult) -> None:
        """Cache a shard's predictions for a limited time, for later requests with the same weights."""
        content = records.pack_shard_result(result)
        tx.write("SET", f"{PREFIX}predictions:{key}", content, "EX", PREDICTIONS_TTL)

    def cached_shard_result(self, key: str) -> ShardResult | None:
        """Return cached predictions of a shard; None if there are none."""
        content = self._get(f"predictions:{key}")
        with suppress(DamagedRecord), self._reader.log_damage():
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
        """Bind the store to an archive if it has none yet; return the id of the archive of the store."""
        bound = tx.get("archive")
        if not bound:
            tx.write("SET", f"{PREFIX}archive", archive_id)
        return bound or archive_id

    @atomic
    def heartbeat(self, tx: JobTransaction, worker: str, offer: WorkerOffer | None = None) -> None:
        """Store the heartbeat and the offer of a worker."""
        tx.write("ZADD", f"{PREFIX}workers", format_time(tx.now), worker)
        tx.write("ZREMRANGEBYSCORE", f"{PREFIX}workers", "-inf", format_time(tx.now - WORKERS_TTL))
        if offer is not None:
            content = records.to_json(asdict(offer))
            tx.write("SET", f"{PREFIX}offers:{worker}", content, "EX", max(1, round(self.heartbeat_timeout)))
            tx.write("SET", f"{PREFIX}offers", content)  # the latest offer, which is used while no worker is alive

    @atomic
    def remove_worker(self, tx: JobTransaction, worker: str) -> None:
        """Remove a worker that has stopped."""
        tx.write("DEL", f"{PREFIX}offers:{worker}")
        tx.write("ZREM", f"{PREFIX}workers", worker)

    def offers(self) -> Sequence[WorkerOffer]:
        """Return the offers of the live workers. If no worker is live, return only the latest offer."""
        expected = self._last_workers  # usually the stored workers are the live ones, so one round trip is enough
        workers, latest, now, *contents = self._read(
            ("ZRANGE", f"{PREFIX}workers", 0, -1, "WITHSCORES"),
            ("GET", f"{PREFIX}offers"),
            ("TIME",),
            *(("GET", f"{PREFIX}offers:{worker}") for worker in expected),
        )
        self._last_workers = live = sorted(self._live(workers, now))
        if live != expected:
            contents = self._read(*(("GET", f"{PREFIX}offers:{worker}") for worker in live))
        offers = []
        known = [content for content in contents if isinstance(content, bytes)]
        for content in known or ([latest] if isinstance(latest, bytes) else []):
            with suppress(DamagedRecord), self._reader.log_damage():
                offers.append(records.offer_from_json(content))
        return offers

    @atomic
    def count_dead_message(self, tx: JobTransaction, message_id: str) -> None:
        """Count a message that the engine dropped."""
        tx.write("ZADD", f"{PREFIX}dead", format_time(tx.now), message_id)
        tx.write("ZREMRANGEBYSCORE", f"{PREFIX}dead", "-inf", format_time(tx.now - DEAD_TTL))

    def depth(self) -> Depth:
        """Return the depth of the queues and the counters of the store."""
        *counters, analyses, leases, retries, dead, workers, time_reply = self._read(
            ("ZCARD", f"{PREFIX}open:models"),
            ("GET", f"{PREFIX}refused"),
            ("GET", f"{PREFIX}crashes"),
            *(
                ("ZRANGE", PREFIX + name, 0, -1, "WITHSCORES")
                for name in ("open:analyses", "leases", "retries", "dead", "workers")
            ),
            ("TIME",),
        )
        now = time_of(time_reply)
        open_shards, refused, crashes = (int(number(counter)) for counter in counters)
        ages: dict[str, list[float]] = {"QUEUED": [0.0], "RUNNING": [0.0]}
        created_times = pairs(analyses)
        states = self._read(*(("HMGET", f"{PREFIX}analysis:{id}", "state") for id, _ in created_times))
        for (_, created), state in zip(created_times, states, strict=True):
            ages.get(texts(state)[0], []).append(now - created)
        running = sum(lease > now for _, lease in pairs(leases))
        return Depth(
            queued_analyses=len(ages["QUEUED"]) - 1,
            running_analyses=len(ages["RUNNING"]) - 1,
            queued_shards=max(0, open_shards - running),
            running_shards=running,
            oldest_queued=max(ages["QUEUED"]),
            oldest_running=max(ages["RUNNING"]),
            workers=len(self._live(workers, time_reply)),
            refused=refused,
            crashes=crashes,
            delayed=sum(time > now for _, time in pairs(retries)),
            dead=sum(time > now - DEAD_TTL for _, time in pairs(dead)),
        )

    def _live(self, workers: Reply, now: Reply) -> list[str]:
        """Return the workers with a recent heartbeat."""
        oldest = time_of(now) - self.heartbeat_timeout
        return [worker for worker, heartbeat in pairs(workers) if heartbeat > oldest]

    def _now_and_workers(self) -> tuple[float, int]:
        workers, now = self._read(("ZRANGE", f"{PREFIX}workers", 0, -1, "WITHSCORES"), ("TIME",))
        return time_of(now), len(self._live(workers, now))

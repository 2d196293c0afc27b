"""The parts of a job store that do not concern single jobs: caches, workers, and numbers for metrics."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial

import structlog
from errata.errors import DamagedRecord, Unavailable

from service.domain import LabelSpace, class_lines
from service.jobs import records
from service.jobs.transaction import JobTransaction, scores_command
from service.jobs.transitions import JobSpec, ShardResult, WorkerOffer
from service.key_value.commands import PREFIX, Backend, Command, number, text_of, texts
from service.key_value.store import KeyValueStore, atomic

HEARTBEAT_SECONDS = 30.0  # the default of ERRATA_HEARTBEAT_SECONDS
PREDICTIONS_TTL = RESULT_TTL = 30 * 86_400  # seconds
WORKERS_TTL, DEAD_TTL = 86_400, 7 * 86_400  # seconds for which stopped workers and dropped messages are stored
MAX_LOGGED = 1000  # damaged records that a store remembers, so that each is logged once
_log = structlog.get_logger()
_LATEST_OFFER: Command = ("GET", f"{PREFIX}offers")


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
        self._last_workers: list[str] = []
        self._known_owners: dict[str, str] = {}  # owners of the jobs that wait for workers, by the id of the job
        self._ended_owners: dict[str, str] = {}  # owners of the ended analyses, by the id of the analysis
        self._logged: set[tuple[str, str]] = set()  # damaged records

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
        with self._log_damage():
            return records.unpack_names(
                digest, self._lines(f"images:{digest}", f"image names with digest {digest:.12}")
            )

    def label_space(self, digest: str) -> LabelSpace:
        """Return the label space whose classes are stored under a digest; raise Unavailable if there is none."""
        with self._log_damage():
            return records.unpack_classes(digest, self._lines(f"classes:{digest}", f"classes with digest {digest:.12}"))

    def _lines(self, key: str, description: str) -> bytes:
        content = self._get(key)
        if content is None:
            raise Unavailable(f"The job store has no {description}.")
        return content

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
        """Bind the store to an archive if it has none yet; return the id of the archive of the store."""
        bound = tx.get("archive")
        if not bound:
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

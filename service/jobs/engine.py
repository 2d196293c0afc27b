"""The engine: Dramatiq carries the ids of shards and errands to worker threads; the record says what they mean.

Two queues: `models` (shards; GPU, minutes) and `errands` (judging; numpy, milliseconds), one Worker each. A process
serves one of them or both; it may send to either. A message may come twice, late or never.
"""

from collections.abc import Callable
from threading import Event, Thread

import dramatiq
import redis
import structlog
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import ConnectionClosed, Retry
from dramatiq.middleware import CurrentMessage, Retries
from errata.errors import Unavailable

from service.jobs.redis_store import MESSAGES, connect
from service.jobs.store import JobStore, WorkerOffer
from service.jobs.worker import BEAT, Drain, RetryLater

MODELS, JUDGING = "models", "errands"
WORKER_TIMEOUT_MS = 50  # the broker polls: this is the ceiling of the start delay
MAINTENANCE = 1_000_000  # of a million calls: the default leaves killed jobs waiting for minutes on a quiet queue
FOREVER = 1_000_000  # the record counts retries, not the engine
RESEND_SECONDS = 5.0  # between looks for messages that were lost
_log = structlog.get_logger()


class Engine:
    """Queues, and the threads that serve them. Each queue has a broker of its own, since each has a Worker."""

    def __init__(self, make_broker: Callable[[], dramatiq.Broker], store: JobStore) -> None:
        self._brokers = {queue: make_broker() for queue in (MODELS, JUDGING)}
        self._store = store
        self._worker = ""
        self._offer: WorkerOffer | None = None
        self._served: set[str] = set()
        self._workers: list[dramatiq.Worker] = []
        self._stopped = Event()
        self._alive = Thread(target=self._live, name="alive", daemon=True)
        self.drain = Drain()

    def serve_models(self, run: Callable[[str, int], None], worker: str, offer: WorkerOffer | None = None) -> None:
        """Declare what runs a shard, `run(job, shard)`, on behalf of the named worker, and what that worker can do."""
        self._worker = worker
        self._offer = offer
        self._declare(_again(run), "shard", MODELS)

    def serve_judging(self, judge: Callable[[str], None]) -> None:
        """Declare what judges a job whose shards are all predicted."""
        self._declare(_again(judge), "judge", JUDGING)

    def start(self) -> None:
        """Start one thread a served queue, and one that says that this worker lives."""
        if self._worker:
            self._alive.start()
        for queue in sorted(self._served):
            worker = dramatiq.Worker(
                self._brokers[queue], queues={queue}, worker_threads=1, worker_timeout=WORKER_TIMEOUT_MS
            )
            worker.queue_prefetch = 1
            worker.start()
            self._workers.append(worker)

    def resend_lost(self, heartbeat: float) -> None:
        """Start a thread that sends again what seems to be lost; harmless if several processes do so."""
        Thread(target=self._resend, args=(heartbeat,), name="resend", daemon=True).start()

    def stop(self, grace: float) -> None:
        """Hand back what runs, and stop the threads within `grace` seconds."""
        self.drain.begin(grace)
        for worker in self._workers:
            worker.stop(timeout=int(grace * 1000))
        self._workers.clear()
        if self._worker and not self._stopped.is_set():
            self._stopped.set()
            self._alive.join()
            self._say(lambda: self._store.worker_gone(self._worker))
        self._stopped.set()

    def send_shards(self, job_id: str, count: int) -> None:
        """Queue all shards of a job."""
        for index in range(count):
            self.send_shard(job_id, index)

    def send_shard(self, job_id: str, shard: int) -> None:
        """Queue one shard."""
        self._send(MODELS, "shard", job_id, shard)

    def send_judging(self, job_id: str) -> None:
        """Queue the judging of a job."""
        self._send(JUDGING, "judge", job_id)

    def _live(self) -> None:
        while not self._stopped.is_set():
            self._say(lambda: self._store.worker_alive(self._worker, self._offer))
            self._stopped.wait(BEAT)

    def _resend(self, heartbeat: float) -> None:
        while not self._stopped.wait(RESEND_SECONDS):
            self._say(lambda: self._send_overdue(heartbeat))

    def _send_overdue(self, heartbeat: float) -> None:
        for job, shard in self._store.overdue(heartbeat):
            _log.warning("sent again", job=job, shard=shard)
            if shard is None:
                self.send_judging(job)
            else:
                self.send_shard(job, shard)

    def _say(self, call: Callable[[], None]) -> None:
        """Make a call that is made again soon anyway: whatever it raises is no reason to end."""
        try:
            call()
        except Unavailable as error:
            _log.warning("the store is away", error=str(error))
        except Exception:
            _log.exception("a thread of the engine met an error and goes on")

    def _send(self, queue: str, actor: str, *arguments: object) -> None:
        broker = self._brokers[queue]
        message: dramatiq.Message[None] = dramatiq.Message(
            queue_name=queue, actor_name=actor, args=arguments, kwargs={}, options={}
        )
        broker.declare_queue(queue)
        try:
            broker.enqueue(message)
        except ConnectionClosed as error:
            raise Unavailable(
                "The job queue (Redis) is unavailable. Try again later.", retry_after=2, detail=f"{error!s:.120}"
            ) from error

    def _declare(self, function: Callable[..., None], name: str, queue: str) -> None:
        self._served.add(queue)
        dramatiq.Actor(
            function,
            broker=self._brokers[queue],
            actor_name=name,
            queue_name=queue,
            priority=0,
            options={"max_retries": FOREVER},
        )


def _again(function: Callable[..., None]) -> Callable[..., None]:
    """Return the function as an actor runs it: when it asks to come back, the message comes again after the delay."""

    def run(*arguments: object) -> None:
        try:
            function(*arguments)
        except RetryLater as later:
            raise Retry(str(later), delay=max(1, int(later.delay * 1000))) from later

    return run


def local_broker() -> dramatiq.Broker:
    """Return a broker in this process, without the default middleware."""
    broker = StubBroker(middleware=[Retries(min_backoff=1000), CurrentMessage()])
    broker.emit_after("process_boot")
    return broker


class _Broker(RedisBroker):
    """Dramatiq's broker, but that every way in which Redis is away is the one error that its threads live through."""

    def _dispatch(self, command: str) -> Callable[..., object]:
        dispatch: Callable[..., object] = super()._dispatch(command)  # type: ignore[no-untyped-call]

        def translated(*arguments: object) -> object:
            try:
                return dispatch(*arguments)
            except redis.RedisError as error:
                raise ConnectionClosed(error) from error  # type: ignore[no-untyped-call]

        return translated


def redis_broker(url: str, timeout: float, heartbeat: float) -> dramatiq.Broker:
    """Return a broker over Redis; a worker that is silent for `heartbeat` seconds counts as dead."""
    broker = _Broker(  # type: ignore[no-untyped-call]
        client=connect(url, timeout),
        namespace=MESSAGES,
        middleware=[Retries(min_backoff=1000), CurrentMessage()],
        heartbeat_timeout=int(heartbeat * 1000),
        maintenance_chance=MAINTENANCE,
    )
    broker.emit_after("process_boot")
    return broker

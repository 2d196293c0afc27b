"""The engine: Dramatiq delivers the ids of shards and jobs to worker threads; the job store holds their state.

There are two queues, each with one Dramatiq worker: one for shards (GPU, minutes), and one for judging (NumPy,
milliseconds). A process serves one queue or both, and can send messages to either. A message can be delivered twice,
late, or never.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import dramatiq
import redis
import structlog
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import Middleware, Retries
from errata.errors import Unavailable

from service.jobs.consumer import MAX_WAIT_SECONDS, Notifier, WaitingConsumer
from service.jobs.store import JUDGING, MODELS, JobStore
from service.jobs.transitions import WorkerOffer
from service.jobs.worker import Drain
from service.key_value.redis_backend import connect
from service.periodic_task import PeriodicTask

MESSAGES = "errata:mq"  # prefix of the engine's keys, which only the engine reads
POLL_MS = 200  # interval between two checks of a thread for its end, and of the local broker for delayed messages
MAINTENANCE_CHANCE = 1_000_000  # per million: every call. The default delays messages of dead workers by minutes
CHECK_SECONDS = 5.0  # maximum interval between two heartbeats, and between two checks for lost messages
_log = structlog.get_logger()


class Engine:
    """The queues, and the threads that serve them. Each queue has its own broker, because each has a Worker."""

    def __init__(self, make_broker: Callable[[], dramatiq.Broker], store: JobStore) -> None:
        self._brokers = {queue: make_broker() for queue in (MODELS, JUDGING)}
        self._store = store
        self._worker = ""
        self._workers: list[dramatiq.Worker] = []
        self._check_seconds = min(CHECK_SECONDS, store.heartbeat_timeout / 6)
        self._heartbeat: PeriodicTask | None = None
        self._resending = PeriodicTask("resend", self._resend_lost_messages, self._check_seconds)
        self.drain = Drain()
        for broker in self._brokers.values():
            broker.add_middleware(_DeadMessages(store))

    def serve_models(self, run: Callable[[str, int], None], worker: str, offer: WorkerOffer | None = None) -> None:
        """Serve the queue of shards.

        Args:
            run: Called with a job and a shard.
            worker: The name of the worker.
            offer: The models and data sets that the worker offers.
        """
        self._worker = worker
        send_heartbeat = partial(self._store.heartbeat, worker, offer)
        self._heartbeat = PeriodicTask("heartbeat", send_heartbeat, self._check_seconds)
        self._serve(MODELS, "shard", run)

    def serve_judging(self, judge: Callable[[str], None]) -> None:
        """Serve the queue of judging; `judge` is called with a job whose shards are all predicted."""
        self._serve(JUDGING, "judge", judge)

    def _serve(self, queue: str, actor: str, function: Callable[..., None]) -> None:
        broker = self._brokers[queue]
        declare = dramatiq.actor(broker=broker, actor_name=actor, queue_name=queue, max_retries=None)
        declare(function)  # without a limit of retries, because the job store counts them
        worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=POLL_MS)
        worker.queue_prefetch = 1
        self._workers.append(worker)

    def start(self) -> None:
        """Start one thread for each served queue, and those that send heartbeats and resend lost messages."""
        if self._heartbeat is not None:
            self._heartbeat.start()
        for worker in self._workers:
            worker.start()
        self._resending.start()

    def stop(self, grace_period: float) -> None:
        """Drain the worker, and stop the threads within `grace_period` seconds."""
        self.drain.start(grace_period)
        for worker in self._workers:
            worker.stop(timeout=int(grace_period * 1000))
        self._resending.stop()
        if self._heartbeat is not None:
            self._heartbeat.stop()
            self._heartbeat.join()
            with suppress(Unavailable):
                self._store.remove_worker(self._worker)

    def send_shards(self, job_id: str, count: int) -> None:
        """Queue all shards of a job."""
        for index in range(count):
            self.send(job_id, index)

    def send(self, job_id: str, shard: int | None = None) -> None:
        """Queue a shard of a job; None: the judging of the job."""
        queue, actor = (JUDGING, "judge") if shard is None else (MODELS, "shard")
        args = (job_id,) if shard is None else (job_id, shard)
        broker = self._brokers[queue]
        message = dramatiq.Message[None](queue_name=queue, actor_name=actor, args=args, kwargs={}, options={})
        broker.declare_queue(queue)
        try:
            broker.enqueue(message)
        except ConnectionClosed as error:
            raise Unavailable(
                "The job queue (Redis) is unavailable. Try again later.", retry_after=2, detail=f"{error!s:.120}"
            ) from error

    def _resend_lost_messages(self) -> None:
        brokers = self._brokers.items()
        empty = {queue for queue, broker in brokers if isinstance(broker, NotifyingBroker) and broker.is_empty(queue)}
        for job, shard in self._store.mark_lost_messages(empty):
            _log.warning("lost message resent", job=job, shard=shard)
            self.send(job, shard)


def local_broker() -> dramatiq.Broker:
    """Return a broker in this process, without the default middleware."""
    return StubBroker(middleware=[Retries(min_backoff=1000)])


class _DeadMessages(Middleware):
    """Counts the messages that the engine drops."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    def after_nack(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """Count a dropped message."""
        with suppress(Unavailable):
            self._store.count_dead_message(message.message_id)


class NotifyingBroker(RedisBroker):
    """Dramatiq's Redis broker, whose consumers wait for notifications of new messages.

    The broker converts each error of Redis to ConnectionClosed, which Dramatiq's threads handle.

    Args:
        url: URL of Redis.
        timeout: Timeout of a call to Redis, in seconds.
        heartbeat_timeout: Seconds without a heartbeat after which a worker is considered dead.
    """

    def __init__(self, url: str, timeout: float, heartbeat_timeout: float) -> None:
        client = connect(url, timeout)
        super().__init__(  # type: ignore[no-untyped-call]
            client=client,
            namespace=MESSAGES,
            middleware=[Retries(min_backoff=1000)],
            heartbeat_timeout=int(heartbeat_timeout * 1000),
            maintenance_chance=MAINTENANCE_CHANCE,
        )
        self._notifier = Notifier(client, f"{MESSAGES}:news")
        self.add_middleware(self._notifier)
        self._consumers: dict[str, WaitingConsumer] = {}
        self._max_wait = min(MAX_WAIT_SECONDS, heartbeat_timeout / 4)  # a fetch is also a heartbeat

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> WaitingConsumer:
        """Return a consumer that waits for notifications while the queue is empty."""
        consumer = super().consume(queue_name, prefetch, timeout=1)
        self._consumers[queue_name] = WaitingConsumer(consumer, queue_name, prefetch, self._notifier, self._max_wait)
        return self._consumers[queue_name]

    def is_empty(self, queue: str) -> bool:
        """Return whether the consumer of this process found a queue empty at its last fetch."""
        return queue in self._consumers and self._consumers[queue].is_empty

    def _dispatch(self, command: str) -> Callable[..., object]:
        dispatch: Callable[..., object] = super()._dispatch(command)  # type: ignore[no-untyped-call]

        def call_actor(*arguments: object) -> object:
            try:
                return dispatch(*arguments)
            except redis.RedisError as error:
                raise ConnectionClosed(error) from error  # type: ignore[no-untyped-call]

        return call_actor

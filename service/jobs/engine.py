"""The engine: Dramatiq carries the ids of shards and errands to worker threads; the record says what they mean.

Two queues: `models` (shards; GPU, minutes) and `errands` (judging; numpy, milliseconds), one Worker each.
"""

from collections.abc import Callable
from threading import Event, Thread

import dramatiq
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import Retry
from dramatiq.middleware import CurrentMessage, Retries

from service.jobs.store import JobStore
from service.jobs.worker import BEAT, ComeBack

MODELS, ERRANDS = "models", "errands"
WORKER_TIMEOUT_MS = 50  # the broker polls: this is the ceiling of the start delay
FOREVER = 1_000_000  # the record counts retries, not the engine


class Engine:
    """Queues, and the threads that serve them. Each queue has a broker of its own, since each has a Worker."""

    def __init__(self, make_broker: Callable[[], dramatiq.Broker], store: JobStore) -> None:
        self._brokers = {queue: make_broker() for queue in (MODELS, ERRANDS)}
        self._store = store
        self._worker = ""
        self._workers: list[dramatiq.Worker] = []
        self.drain = Event()

    def serve_models(self, run: Callable[[str, int], None], worker: str) -> None:
        """Declare what runs a shard, `run(job, shard)`, on behalf of the named worker."""
        self._worker = worker
        self._declare(_again(run), "shard", MODELS)

    def serve_errands(self, judge: Callable[[str], None]) -> None:
        """Declare what judges a job whose shards are all predicted."""
        self._declare(_again(judge), "judge", ERRANDS)

    def start(self) -> None:
        """Start one thread a queue, and one that says that this worker lives."""
        Thread(target=self._live, name="alive", daemon=True).start()
        for queue, broker in self._brokers.items():
            worker = dramatiq.Worker(broker, queues={queue}, worker_threads=1, worker_timeout=WORKER_TIMEOUT_MS)
            worker.queue_prefetch = 1
            worker.start()
            self._workers.append(worker)

    def _live(self) -> None:
        while self._worker and not self.drain.is_set():
            self._store.worker_alive(self._worker)
            self.drain.wait(BEAT)
        self._store.worker_gone(self._worker)

    def stop(self, grace: float) -> None:
        """Hand back what runs, and stop the threads within `grace` seconds."""
        self.drain.set()
        for worker in self._workers:
            worker.stop(timeout=int(grace * 1000))
        self._workers.clear()

    def send_shards(self, job_id: str, count: int) -> None:
        """Queue all shards of a job."""
        for index in range(count):
            self._send(MODELS, "shard", job_id, index)

    def send_judging(self, job_id: str) -> None:
        """Queue the judging of a job."""
        self._send(ERRANDS, "judge", job_id)

    def _send(self, queue: str, actor: str, *arguments: object) -> None:
        broker = self._brokers[queue]
        broker.enqueue(broker.get_actor(actor).message(*arguments))

    def _declare(self, function: Callable[..., None], name: str, queue: str) -> None:
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
        except ComeBack as later:
            raise Retry(str(later), delay=max(1, int(later.delay * 1000))) from later

    return run


def local_broker() -> dramatiq.Broker:
    """Return a broker in this process, without the default middleware."""
    broker = StubBroker(middleware=[Retries(min_backoff=1000), CurrentMessage()])
    broker.emit_after("process_boot")
    return broker

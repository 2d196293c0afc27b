"""One suite for the engine on all brokers: delivery, order, retries, draining, and separate queues."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from queue import Queue
from threading import Event

import dramatiq
import numpy as np
import pytest
import redis
from dramatiq.middleware import AgeLimit, TimeLimit
from errata.errors import Unavailable
from redis_job_store import RedisJobStore
from redis_server import RedisServer

from service.domain import AnalysisRequest, Failure, LabelSpace, ModelInfo, Predictions, State
from service.jobs import engine as engine_module
from service.jobs import transitions
from service.jobs.engine import Engine, NotifyingBroker, local_broker
from service.jobs.memory import InMemoryJobStore
from service.jobs.store import JobStore
from service.jobs.transitions import AnalysisRecord, ClaimOutcome, JobSpec
from service.jobs.worker import RetryLater, Worker
from service.key_value import redis_backend
from service.taxonomy.imagenet_1k import imagenet_1k

SOON = 10.0  # seconds: timeout for events that take milliseconds

HEARTBEAT = 3.0  # seconds


@pytest.fixture(autouse=True)
def connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close all connections to Redis after the test: pytest reports open sockets as errors."""
    clients: list[redis.Redis] = []

    def connect_and_record(url: str, timeout: float) -> redis.Redis:
        clients.append(connect(url, timeout))
        return clients[-1]

    connect = redis_backend.connect
    for module in (redis_backend, engine_module):
        monkeypatch.setattr(module, "connect", connect_and_record)
    yield
    for client in clients:
        client.connection_pool.disconnect(inuse_connections=False)  # the thread of a subscription closes its own


@pytest.fixture(params=["local", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(kind: str, request: pytest.FixtureRequest) -> JobStore:
    if kind == "local":
        return InMemoryJobStore(time.time)
    client = redis_backend.connect(request.getfixturevalue("server").url, 5)
    client.flushall()
    return RedisJobStore(client)


@pytest.fixture
def make_broker(kind: str, request: pytest.FixtureRequest) -> Callable[[], dramatiq.Broker]:
    if kind == "local":
        return local_broker
    return partial(NotifyingBroker, request.getfixturevalue("server").url, 5, HEARTBEAT)


@pytest.fixture
def engine(make_broker: Callable[[], dramatiq.Broker], store: JobStore) -> Iterator[Engine]:
    engine = Engine(make_broker, store)
    yield engine
    engine.stop(1)


def submit(store: JobStore, id: str, total: int = 6, shard_size: int = 2) -> str:
    spec = JobSpec(f"demo:{id}", "demo", "e", "i", total, shard_size)
    store.store_inputs(spec, [f"{number}.jpg" for number in range(total)], imagenet_1k())
    record = AnalysisRecord(id, AnalysisRequest("demo", "demo:m"), "d", "e", created=0.0)
    return store.submit(record, spec, limit=10).job


class SingleImagePredictor:
    """A predictor with one image per batch, which calls back before each batch."""

    def __init__(self, before_batch: Callable[[], None] = lambda: None) -> None:
        self._before_batch = before_batch

    def load(self, model: str, label_space: LabelSpace | None = None) -> ModelInfo:
        return ModelInfo(model, "net", "0" * 64, "none")

    def images_digest(self, dataset: str, names: Sequence[str]) -> str:
        return f"{dataset} {names}"

    def predict(
        self, model: str, dataset: str, names: list[str], label_space: LabelSpace | None = None
    ) -> Iterator[Predictions]:
        for name in names:
            self._before_batch()
            yield Predictions(np.array([int(name.removesuffix(".jpg"))], dtype=np.int16))


def serve(engine: Engine, store: JobStore, predictor: SingleImagePredictor) -> None:
    def nothing(_: object = None) -> None:
        """Do nothing."""

    worker = Worker(
        name="w1",
        store=store,
        predictor=predictor,
        drain=engine.drain,
        send=engine.send,
        on_job_failed=nothing,
    )
    engine.serve_models(worker.run, worker="w1")


def test_sent_shards_run_in_order(engine: Engine) -> None:
    ran: Queue[tuple[str, int]] = Queue()
    engine.serve_models(lambda job, shard: ran.put((job, shard)), worker="w1")
    engine.serve_judging(lambda job: None)
    engine.start()

    engine.send_shards("j1", 3)
    engine.send_shards("j2", 1)

    assert [ran.get(timeout=SOON) for _ in range(4)] == [("j1", 0), ("j1", 1), ("j1", 2), ("j2", 0)]


def test_notifications_wake_all_idle_engines(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "MAX_WAIT_SECONDS", 60.0)  # without a notification, the test times out
    client = redis_backend.connect(server.url, 5)
    client.flushall()
    store = RedisJobStore(client)
    engines = [Engine(partial(NotifyingBroker, server.url, 5, 300.0), store) for _ in range(8)]
    started, release = Queue[int](), Event()

    def run(job: str, shard: int) -> None:
        started.put(shard)
        release.wait(SOON)

    for number, engine in enumerate(engines):
        engine.serve_models(run, worker=f"w{number}")
        engine.start()
    time.sleep(0.2)  # usually, all consumers pause now
    try:
        engines[0].send_shards("j1", len(engines))
        assert sorted(started.get(timeout=SOON) for _ in engines) == [*range(len(engines))]
    finally:
        release.set()
        for engine in engines:
            engine.stop(1)


def test_messages_sent_before_the_start_are_delivered(engine: Engine) -> None:
    ran: Queue[int] = Queue()
    engine.serve_models(lambda job, shard: ran.put(shard), worker="w1")
    engine.serve_judging(lambda job: None)
    engine.send_shards("j1", 1)
    engine.start()

    assert ran.get(timeout=SOON) == 0


def test_a_shard_that_is_retried_later_is_delivered_again(engine: Engine) -> None:
    ran: Queue[int] = Queue()

    def run(job: str, shard: int) -> None:
        ran.put(shard)
        if ran.qsize() < 3:
            raise RetryLater(0.01)

    engine.serve_models(run, worker="w1")
    engine.serve_judging(lambda job: None)
    engine.start()
    engine.send_shards("j1", 1)

    deadline = time.monotonic() + SOON
    while ran.qsize() < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert ran.qsize() == 3


def test_a_delayed_shard_does_not_block_the_next(engine: Engine) -> None:
    ran: Queue[int] = Queue()

    def run(job: str, shard: int) -> None:
        if shard == 0:
            raise RetryLater(60)
        ran.put(shard)

    engine.serve_models(run, worker="w1")
    engine.serve_judging(lambda job: None)
    engine.start()
    engine.send_shards("j1", 2)

    assert ran.get(timeout=SOON) == 1


def test_judging_does_not_wait_for_a_running_model(engine: Engine) -> None:
    started, release = Event(), Event()
    judged: Queue[str] = Queue()

    def run(job: str, shard: int) -> None:
        started.set()
        release.wait(SOON)

    engine.serve_models(run, worker="w1")
    engine.serve_judging(judged.put)
    engine.start()
    engine.send_shards("j1", 1)
    assert started.wait(SOON)

    engine.send("j2")

    assert judged.get(timeout=SOON) == "j2"
    release.set()


def test_one_shard_runs_at_a_time(engine: Engine) -> None:
    running, most = 0, 0
    done: Queue[int] = Queue()

    def run(job: str, shard: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.01)
        running -= 1
        done.put(shard)

    engine.serve_models(run, worker="w1")
    engine.serve_judging(lambda job: None)
    engine.start()
    engine.send_shards("j1", 5)
    for _ in range(5):
        done.get(timeout=SOON)

    assert most == 1


def test_judging_that_fails_is_delivered_again(engine: Engine) -> None:
    judged: Queue[str] = Queue()
    failures = iter([True, False])

    def judge(job: str) -> None:
        judged.put(job)
        if next(failures):
            raise OSError("the archive is unavailable")

    engine.serve_models(lambda job, shard: None, worker="w1")
    engine.serve_judging(judge)
    engine.start()
    engine.send("j1")

    assert [judged.get(timeout=SOON) for _ in range(2)] == ["j1", "j1"]


def test_a_worker_that_runs_a_shard_is_alive(engine: Engine, store: JobStore) -> None:
    submit(store, "a")
    ran = Event()
    engine.serve_models(lambda job, shard: ran.set(), worker="w1")
    engine.serve_judging(lambda job: None)
    engine.start()
    engine.send_shards("j1", 1)
    assert ran.wait(SOON)

    snapshot = store.snapshot("a")
    assert snapshot is not None
    assert snapshot.live_workers == 1


def live_workers(store: JobStore, id: str) -> int:
    snapshot = store.snapshot(id)
    assert snapshot is not None
    return snapshot.live_workers


def wait_until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + SOON
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def test_a_worker_is_alive_from_its_start_until_it_stops(engine: Engine, store: JobStore) -> None:
    submit(store, "a")
    engine.serve_models(lambda job, shard: None, worker="w1")
    engine.serve_judging(lambda job: None)
    assert live_workers(store, "a") == 0

    engine.start()
    assert wait_until(lambda: live_workers(store, "a") == 1)

    engine.stop(1)
    assert wait_until(lambda: live_workers(store, "a") == 0)


def test_an_engine_that_serves_only_judging_is_not_a_worker(engine: Engine, store: JobStore) -> None:
    submit(store, "a")
    judged: Queue[str] = Queue()
    engine.serve_judging(judged.put)
    engine.start()
    engine.send("j1")

    assert judged.get(timeout=SOON) == "j1"
    assert live_workers(store, "a") == 0


def test_judging_that_is_retried_later_is_delivered_again(engine: Engine) -> None:
    judged: Queue[str] = Queue()
    failures = iter([True, True, False])

    def judge(job: str) -> None:
        judged.put(job)
        if next(failures):
            raise RetryLater(0.01)

    engine.serve_models(lambda job, shard: None, worker="w1")
    engine.serve_judging(judge)
    engine.start()
    engine.send("j1")

    assert [judged.get(timeout=SOON) for _ in range(3)] == ["j1"] * 3


def test_the_last_shard_of_a_job_sends_the_judging(engine: Engine, store: JobStore) -> None:
    judged: Queue[list[int]] = Queue()

    def judge(job: str) -> None:
        claimed = store.change_job(transitions.claim_judging, job)
        assert claimed is not None
        parts = store.shard_results(job)
        store.change_job(transitions.finish_judging, job, claimed.judging_token)
        judged.put([top1 for part in parts for top1 in part.predictions.top1.tolist()])

    job = submit(store, "a", total=5, shard_size=2)
    serve(engine, store, SingleImagePredictor())
    engine.serve_judging(judge)
    engine.start()
    engine.send_shards(job, 3)

    assert judged.get(timeout=SOON) == [0, 1, 2, 3, 4]
    assert store.snapshots() == []


def test_a_message_delivered_twice_runs_once(engine: Engine, store: JobStore) -> None:
    batches: Queue[None] = Queue()
    judged: Queue[str] = Queue()
    job = submit(store, "a", total=4, shard_size=2)
    serve(engine, store, SingleImagePredictor(lambda: batches.put(None)))
    engine.serve_judging(judged.put)
    engine.start()
    engine.send_shards(job, 2)
    engine.send_shards(job, 2)

    assert judged.get(timeout=SOON) == job
    engine.stop(SOON)
    assert batches.qsize() == 4
    assert judged.empty()
    stored_job = store.job(job)
    assert stored_job is not None
    assert [shard.fencing_token for shard in stored_job.shards] == [1, 1]


def test_stopping_releases_a_long_shard_without_counting_a_retry(engine: Engine, store: JobStore) -> None:
    """Given a shard that needs 5 s more and a grace period of 1 s, it is queued again after its batch."""
    started = Event()

    def before_batch() -> None:
        started.set()
        time.sleep(0.05)

    job = submit(store, "a", total=100, shard_size=100)
    serve(engine, store, SingleImagePredictor(before_batch))
    engine.serve_judging(lambda job: None)
    engine.start()
    engine.send_shards(job, 1)
    assert started.wait(SOON)

    engine.stop(1)

    stored_job = store.job(job)
    assert stored_job is not None
    shard = stored_job.shards[0]
    assert (shard.state, shard.crashes, shard.retries, shard.done) == (State.QUEUED, 0, 0, 0)
    assert store.change_shard(transitions.claim, job, 0, "w2", 20.0).kind is ClaimOutcome.CLAIMED


def test_stopping_lets_a_shard_finish_its_last_batch(engine: Engine, store: JobStore) -> None:
    started, stopping = Event(), Event()

    def before_batch() -> None:
        started.set()
        stopping.wait(SOON)

    job = submit(store, "a", total=1, shard_size=1)
    serve(engine, store, SingleImagePredictor(before_batch))
    engine.serve_judging(lambda job: None)
    engine.start()
    engine.send_shards(job, 1)
    assert started.wait(SOON)

    engine.drain.set()
    stopping.set()
    engine.stop(SOON)

    stored_job = store.job(job)
    assert stored_job is not None
    assert stored_job.shards[0].state is State.SUCCEEDED


def test_stopping_sets_the_drain_and_can_be_repeated(engine: Engine) -> None:
    engine.serve_models(lambda job, shard: None, worker="w1")
    engine.serve_judging(lambda job: None)
    engine.start()
    assert not engine.drain.is_set()

    engine.stop(1)
    engine.stop(1)

    assert engine.drain.is_set()


def test_two_engines_share_nothing(store: JobStore) -> None:
    first, second = Engine(local_broker, store), Engine(local_broker, store)
    ran: Queue[str] = Queue()
    for name, engine in (("first", first), ("second", second)):
        engine.serve_models(lambda job, shard, name=name: ran.put(name), worker=name)
        engine.serve_judging(lambda job: None)
        engine.start()
    first.send_shards("j1", 1)

    assert ran.get(timeout=SOON) == "first"
    for engine in (first, second):
        engine.stop(1)
    assert ran.empty()


def test_brokers_limit_neither_the_duration_nor_the_age_of_messages(make_broker: Callable[[], dramatiq.Broker]) -> None:
    """The default middleware of Dramatiq interrupts messages after 10 minutes with an exception."""
    assert not [middleware for middleware in make_broker().middleware if isinstance(middleware, TimeLimit | AgeLimit)]


def test_a_cancelled_job_stops_at_its_batch_and_its_other_messages_are_skipped(engine: Engine, store: JobStore) -> None:
    def cancel() -> None:
        store.cancel("a", "enough")
        stopped.set()

    stopped = Event()
    job = submit(store, "a", total=6, shard_size=2)
    serve(engine, store, SingleImagePredictor(cancel))
    engine.serve_judging(lambda job: None)
    engine.start()
    engine.send_shards(job, 3)
    assert stopped.wait(SOON)
    engine.stop(SOON)

    stored_job = store.job(job)
    assert stored_job is not None
    assert stored_job.state is State.CANCELLED
    assert [shard.fencing_token for shard in stored_job.shards] == [1, 0, 0]
    snapshot = store.snapshot("a")
    assert snapshot is not None
    assert snapshot.record.failure == Failure("CANCELLED", "enough")


@pytest.mark.processes
def test_an_unavailable_queue_raises_an_error_and_stops_no_thread(tmp_path: Path) -> None:
    """Given a stopped Redis, sending raises an error; after its restart, lost messages are resent."""
    server = RedisServer(tmp_path).start()
    store = RedisJobStore(redis_backend.connect(server.url, 1))
    engine = Engine(partial(NotifyingBroker, server.url, 1, HEARTBEAT), store)
    ran: Queue[tuple[str, int]] = Queue()
    engine.serve_models(lambda job, shard: ran.put((job, shard)), worker="w1")
    engine.start()
    try:
        job = submit(store, "a", total=1)
        before = {thread.name for thread in threading.enumerate()}
        server.kill()
        with pytest.raises(Unavailable):
            engine.send(job, 0)
        time.sleep(1.5)
        server.start()

        assert wait_until(lambda: _sent(engine, job))
        assert ran.get(timeout=SOON) == (job, 0)
        assert "heartbeat" in {thread.name for thread in threading.enumerate()} & before
    finally:
        engine.stop(1)
        server.stop()


@pytest.mark.processes
def test_a_frozen_redis_stops_no_consumer(tmp_path: Path) -> None:
    """Given a Redis that was frozen for longer than a call's timeout, messages with a later delay are delivered.

    tests/processes covers messages whose delay ended meanwhile.
    """
    server = RedisServer(tmp_path).start()
    store = RedisJobStore(redis_backend.connect(server.url, 0.3))
    engine = Engine(partial(NotifyingBroker, server.url, 0.3, HEARTBEAT), store)
    ran: Queue[str] = Queue()
    retried: set[str] = set()

    def run(job: str, shard: int) -> None:
        if job not in retried:
            retried.add(job)
            raise RetryLater(0.5)
        ran.put(job)

    engine.serve_models(run, worker="w1")
    engine.start()
    try:
        engine.send("j1", 0)
        assert ran.get(timeout=SOON) == "j1"
        engine.send("delayed", 0)
        time.sleep(0.3)  # the retry is delayed now
        server.signal(signal.SIGSTOP)
        time.sleep(2.5)
        server.signal(signal.SIGCONT)
        assert wait_until(lambda: _sent(engine, "j2"))

        while ran.get(timeout=2 * SOON) != "j2":
            pass
    finally:
        engine.stop(1)
        server.stop()


def _sent(engine: Engine, job: str) -> bool:
    try:
        engine.send(job, 0)
    except Unavailable:
        return False
    return True

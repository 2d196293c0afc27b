"""The engine on the local broker: who is sent is run, in order; work comes back; errands don't wait for models."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from queue import Queue
from threading import Event

import dramatiq
import numpy as np
import pytest
from dramatiq.middleware import AgeLimit, TimeLimit
from errata.errors import Unavailable
from redis_server import RedisServer

from service.domain import AnalysisRequest, Failure, ModelInfo, Predictions, State
from service.jobs.engine import Engine, local_broker, redis_broker
from service.jobs.memory import InMemoryJobStore
from service.jobs.redis_store import RedisJobStore, connect
from service.jobs.store import JobStore
from service.jobs.transitions import AnalysisRecord, ClaimOutcome, JobSpec
from service.jobs.worker import RetryLater, Worker

SOON = 10.0  # seconds that a test waits at most for what takes milliseconds

HEARTBEAT = 3.0  # seconds


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    running = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield running
    running.stop()


@pytest.fixture(params=["local", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(kind: str, server: RedisServer) -> JobStore:
    if kind == "local":
        return InMemoryJobStore(time.time)
    client = connect(server.url, 5)
    client.flushall()
    return RedisJobStore(client)


@pytest.fixture
def make_broker(kind: str, server: RedisServer) -> Callable[[], dramatiq.Broker]:
    return local_broker if kind == "local" else partial(redis_broker, server.url, 5, HEARTBEAT)


@pytest.fixture
def engine(make_broker: Callable[[], dramatiq.Broker], store: JobStore) -> Iterator[Engine]:
    engine = Engine(make_broker, store)
    yield engine
    engine.stop(1)


def submit(store: JobStore, id: str, total: int = 6, shard_size: int = 2) -> str:
    store.store_image_names("i", [f"{number}.jpg" for number in range(total)])
    spec = JobSpec(f"demo:{id}", "demo", "e", "i", total, shard_size)
    record = AnalysisRecord(id, AnalysisRequest("demo", "demo:m"), "d", "e", created=0.0)
    return store.submit(record, spec, fresh=False, limit=10).job


class OneByOne:
    """A predictor that yields an image a batch, and calls back before each."""

    def __init__(self, before_batch: Callable[[], None] = lambda: None) -> None:
        self._before_batch = before_batch

    def load(self, model: str) -> ModelInfo:
        return ModelInfo(model, "net", "0" * 64, "none")

    def predict(self, model: str, dataset: str, names: list[str]) -> Iterator[Predictions]:
        for name in names:
            self._before_batch()
            yield Predictions(np.array([int(name.removesuffix(".jpg"))], dtype=np.int16))


def serve(engine: Engine, store: JobStore, predictor: OneByOne) -> None:
    def nothing(_: object = None) -> None:
        """Tell nobody."""

    worker = Worker(
        name="w1",
        store=store,
        predictor=predictor,
        drain=engine.drain,
        send_judging=engine.send_judging,
        requeue=engine.send_shard,
        on_finished=nothing,
        on_batch=nothing,
    )
    engine.serve_models(worker.run, worker="w1")


def test_every_shard_that_is_sent_is_run_in_order(engine: Engine) -> None:
    ran: Queue[tuple[str, int]] = Queue()
    engine.serve_models(lambda job, shard: ran.put((job, shard)), worker="w1")
    engine.serve_judging(lambda job: None)
    engine.start()

    engine.send_shards("j1", 3)
    engine.send_shards("j2", 1)

    assert [ran.get(timeout=SOON) for _ in range(4)] == [("j1", 0), ("j1", 1), ("j1", 2), ("j2", 0)]


def test_what_was_sent_before_the_start_is_run(engine: Engine) -> None:
    ran: Queue[int] = Queue()
    engine.serve_models(lambda job, shard: ran.put(shard), worker="w1")
    engine.serve_judging(lambda job: None)
    engine.send_shards("j1", 1)
    engine.start()

    assert ran.get(timeout=SOON) == 0


def test_a_shard_that_asks_to_come_back_comes_back(engine: Engine) -> None:
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


def test_a_shard_that_waits_lets_the_next_one_pass(engine: Engine) -> None:
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


def test_judging_does_not_wait_for_a_model_that_runs(engine: Engine) -> None:
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

    engine.send_judging("j2")

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


def test_an_errand_that_meets_an_error_is_run_again(engine: Engine) -> None:
    judged: Queue[str] = Queue()
    away = iter([True, False])

    def judge(job: str) -> None:
        judged.put(job)
        if next(away):
            raise OSError("the archive is away")

    engine.serve_models(lambda job, shard: None, worker="w1")
    engine.serve_judging(judge)
    engine.start()
    engine.send_judging("j1")

    assert [judged.get(timeout=SOON) for _ in range(2)] == ["j1", "j1"]


def test_the_worker_that_runs_a_shard_is_alive(engine: Engine, store: JobStore) -> None:
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


def until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + SOON
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.005)
    return holds()


def test_a_worker_is_alive_from_its_start_until_it_stops_whether_it_has_work_or_not(
    engine: Engine, store: JobStore
) -> None:
    submit(store, "a")
    engine.serve_models(lambda job, shard: None, worker="w1")
    engine.serve_judging(lambda job: None)
    assert live_workers(store, "a") == 0

    engine.start()
    assert until(lambda: live_workers(store, "a") == 1)

    engine.stop(1)
    assert until(lambda: live_workers(store, "a") == 0)


def test_an_engine_that_serves_errands_alone_is_no_worker(engine: Engine, store: JobStore) -> None:
    submit(store, "a")
    judged: Queue[str] = Queue()
    engine.serve_judging(judged.put)
    engine.start()
    engine.send_judging("j1")

    assert judged.get(timeout=SOON) == "j1"
    assert live_workers(store, "a") == 0


def test_an_errand_that_asks_to_come_back_comes_back(engine: Engine) -> None:
    judged: Queue[str] = Queue()
    away = iter([True, True, False])

    def judge(job: str) -> None:
        judged.put(job)
        if next(away):
            raise RetryLater(0.01)

    engine.serve_models(lambda job, shard: None, worker="w1")
    engine.serve_judging(judge)
    engine.start()
    engine.send_judging("j1")

    assert [judged.get(timeout=SOON) for _ in range(3)] == ["j1"] * 3


def test_a_job_goes_from_its_shards_to_its_judge(engine: Engine, store: JobStore) -> None:
    judged: Queue[list[int]] = Queue()

    def judge(job: str) -> None:
        fencing_token = store.claim_judging(job)
        assert fencing_token is not None
        parts = store.shard_results(job)
        store.finish_job(job, fencing_token)
        judged.put([top1 for part in parts for top1 in part.predictions.top1.tolist()])

    job = submit(store, "a", total=5, shard_size=2)
    serve(engine, store, OneByOne())
    engine.serve_judging(judge)
    engine.start()
    engine.send_shards(job, 3)

    assert judged.get(timeout=SOON) == [0, 1, 2, 3, 4]
    assert store.records() == []


def test_a_message_that_comes_twice_runs_once(engine: Engine, store: JobStore) -> None:
    batches: Queue[None] = Queue()
    judged: Queue[str] = Queue()
    job = submit(store, "a", total=4, shard_size=2)
    serve(engine, store, OneByOne(lambda: batches.put(None)))
    engine.serve_judging(judged.put)
    engine.start()
    engine.send_shards(job, 2)
    engine.send_shards(job, 2)

    assert judged.get(timeout=SOON) == job
    engine.stop(SOON)
    assert batches.qsize() == 4
    assert judged.empty()
    record = store.job(job)
    assert record is not None
    assert [shard.fencing_token for shard in record.shards] == [1, 1]


def test_stopping_hands_a_long_shard_back_and_counts_nothing(engine: Engine, store: JobStore) -> None:
    """Given a shard that would take 5 s more and 1 s to stop, it is queued again, at its batch."""
    started = Event()

    def before_batch() -> None:
        started.set()
        time.sleep(0.05)

    job = submit(store, "a", total=100, shard_size=100)
    serve(engine, store, OneByOne(before_batch))
    engine.serve_judging(lambda job: None)
    engine.start()
    engine.send_shards(job, 1)
    assert started.wait(SOON)

    engine.stop(1)

    record = store.job(job)
    assert record is not None
    shard = record.shards[0]
    assert (shard.state, shard.crashes, shard.retries, shard.done) == (State.QUEUED, 0, 0, 0)
    assert store.claim_shard(job, 0, "w2", 20.0).kind is ClaimOutcome.CLAIMED


def test_stopping_lets_a_shard_end_that_is_at_its_last_batch(engine: Engine, store: JobStore) -> None:
    started, stopping = Event(), Event()

    def before_batch() -> None:
        started.set()
        stopping.wait(SOON)

    job = submit(store, "a", total=1, shard_size=1)
    serve(engine, store, OneByOne(before_batch))
    engine.serve_judging(lambda job: None)
    engine.start()
    engine.send_shards(job, 1)
    assert started.wait(SOON)

    engine.drain.set()
    stopping.set()
    engine.stop(SOON)

    record = store.job(job)
    assert record is not None
    assert record.shards[0].state is State.SUCCEEDED


def test_stopping_sets_the_drain_and_may_be_done_twice(engine: Engine) -> None:
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


def test_no_broker_limits_how_long_or_how_old_work_is(make_broker: Callable[[], dramatiq.Broker]) -> None:
    """The engine's default middleware ends messages after 10 minutes, with an exception inside the work."""
    assert not [item for item in make_broker().middleware if isinstance(item, TimeLimit | AgeLimit)]


def test_a_cancelled_job_stops_at_its_batch_and_its_other_messages_are_skipped(engine: Engine, store: JobStore) -> None:
    def cancel() -> None:
        store.cancel("a", "enough")
        stopped.set()

    stopped = Event()
    job = submit(store, "a", total=6, shard_size=2)
    serve(engine, store, OneByOne(cancel))
    engine.serve_judging(lambda job: None)
    engine.start()
    engine.send_shards(job, 3)
    assert stopped.wait(SOON)
    engine.stop(SOON)

    record = store.job(job)
    assert record is not None
    assert record.state is State.CANCELLED
    assert [shard.fencing_token for shard in record.shards] == [1, 0, 0]
    snapshot = store.snapshot("a")
    assert snapshot is not None
    assert snapshot.record.failure == Failure("CANCELLED", "enough")


def test_a_queue_that_is_away_is_unavailable_and_no_thread_dies_of_it(tmp_path: Path) -> None:
    """Given a Redis that is gone, sending says so; once it is back, what was lost is sent again by itself."""
    redis = RedisServer(tmp_path).start()
    store = RedisJobStore(connect(redis.url, 1))
    engine = Engine(partial(redis_broker, redis.url, 1, HEARTBEAT), store)
    ran: Queue[tuple[str, int]] = Queue()
    engine.serve_models(lambda job, shard: ran.put((job, shard)), worker="w1")
    engine.start()
    try:
        job = submit(store, "a", total=1)
        before = {thread.name for thread in threading.enumerate()}
        redis.kill()
        with pytest.raises(Unavailable):
            engine.send_shard(job, 0)
        time.sleep(1.5)
        redis.start()

        assert until(lambda: _sent(engine, job))
        assert ran.get(timeout=SOON) == (job, 0)
        assert "heartbeat" in {thread.name for thread in threading.enumerate()} & before
    finally:
        engine.stop(1)
        redis.stop()


def test_a_frozen_redis_ends_no_consumer(tmp_path: Path) -> None:
    """Given a Redis that answered nobody for longer than calls wait, what backs off later is delivered as before.

    What was in back-off meanwhile is sent again: tests/processes show it.
    """
    redis = RedisServer(tmp_path).start()
    store = RedisJobStore(connect(redis.url, 0.3))
    engine = Engine(partial(redis_broker, redis.url, 0.3, HEARTBEAT), store)
    ran: Queue[str] = Queue()
    requeue_with_backoff: set[str] = set()

    def run(job: str, shard: int) -> None:
        if job not in requeue_with_backoff:
            requeue_with_backoff.add(job)
            raise RetryLater(0.5)
        ran.put(job)

    engine.serve_models(run, worker="w1")
    engine.start()
    try:
        engine.send_shard("j1", 0)
        assert ran.get(timeout=SOON) == "j1"
        engine.send_shard("held", 0)
        time.sleep(0.3)  # it is in back-off now
        redis.signal(signal.SIGSTOP)
        time.sleep(2.5)
        redis.signal(signal.SIGCONT)
        assert until(lambda: _sent(engine, "j2"))

        while ran.get(timeout=2 * SOON) != "j2":
            pass
    finally:
        engine.stop(1)
        redis.stop()


def _sent(engine: Engine, job: str) -> bool:
    try:
        engine.send_shard(job, 0)
    except Unavailable:
        return False
    return True

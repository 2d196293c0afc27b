"""One shard of a worker: it is predicted, stopped, released, retried, or failed; late results are refused."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import structlog
from errata.errors import (
    ErrataError,
    ImagesMissing,
    InvalidModelId,
    ModelNotFound,
    ModelRefused,
    PermanentError,
    Unavailable,
    WorkerLost,
)
from manual_clock import Clock

from service.domain import (
    NO_PREDICTION,
    AnalysisRequest,
    Failure,
    LabelSpace,
    ModelInfo,
    Observer,
    Predictions,
    State,
)
from service.jobs import transitions, worker
from service.jobs.memory import InMemoryJobStore
from service.jobs.store import MODELS
from service.jobs.transitions import (
    CRASH_DELAYS,
    MAX_CRASHES,
    AnalysisRecord,
    ClaimOutcome,
    JobSpec,
    ShardResult,
)
from service.jobs.worker import Drain, RetryLater, Worker
from service.taxonomy.imagenet_1k import imagenet_1k

LEASE_SECONDS = 20.0  # two thirds of the default heartbeat
NAMES = [f"{number}.jpg" for number in range(10)]
INFO = ModelInfo("demo:m", "net", "0" * 64, "none")


class FakePredictor:
    """A predictor whose predictions are the numbers of the images; it calls `before_batch` before each batch."""

    def __init__(
        self,
        before_batch: Callable[[int], None] = lambda _: None,
        load: Callable[[], None] = lambda: None,
        size: int = 2,
        skip: int = 0,
    ) -> None:
        self._before_batch = before_batch
        self._load = load
        self._size = size
        self._skip = skip
        self.calls: list[tuple[str, str, tuple[str, ...]]] = []
        self.images_version = 1

    def load(self, model: str, label_space: LabelSpace | None = None) -> ModelInfo:
        self._load()
        return INFO

    def images_digest(self, dataset: str, names: Sequence[str]) -> str:
        return f"{dataset} {self.images_version} {names}"

    def predict(
        self, model: str, dataset: str, names: Sequence[str], label_space: LabelSpace | None = None
    ) -> Iterator[Predictions]:
        self.calls.append((model, dataset, tuple(names)))
        for number, start in enumerate(range(0, len(names) - self._skip, self._size)):
            self._before_batch(number)
            batch = names[start : start + self._size]
            yield Predictions(np.array([int(name.removesuffix(".jpg")) for name in batch], dtype=np.int16))


class Batches(Observer):
    """Records the sizes of predicted batches."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def batch_predicted(self, num_images: int) -> None:
        self.sizes.append(num_images)


class Backend:
    """A store with one job of ten images in shards of four, and the recorded calls of a worker."""

    def __init__(self, store: type[InMemoryJobStore] = InMemoryJobStore) -> None:
        self.clock = Clock()
        self.store = store(self.clock)
        spec = JobSpec("demo:m", "demo", "e", "i", 10, 4)
        self.store.store_inputs(spec, NAMES, imagenet_1k())
        record = AnalysisRecord("a", AnalysisRequest("demo", "demo:m"), "d", "e", created=0.0)
        self.job = self.store.submit(record, spec, limit=1).job
        self.drain = Drain()
        self.sent: list[tuple[str, int | None]] = []
        self.finished: list[str] = []
        self.observer = Batches()
        self.interrupted = threading.Event()

    def run(
        self,
        shard: int,
        predictor: FakePredictor,
        worker: str = "w1",
        can_run: Callable[[JobSpec], bool] = lambda _: True,
    ) -> None:
        Worker(
            name=worker,
            store=self.store,
            predictor=predictor,
            drain=self.drain,
            send=lambda job, shard: self.sent.append((job, shard)),
            on_job_failed=self.finished.append,
            observer=self.observer,
            interrupt=self.interrupted.set,
            can_run=can_run,
        ).run(self.job, shard)

    @property
    def judged(self) -> list[str]:
        return [job for job, shard in self.sent if shard is None]

    def shard_state(self, shard: int) -> State:
        job = self.store.job(self.job)
        assert job is not None
        return job.shards[shard].state

    @property
    def failure(self) -> Failure | None:
        snapshot = self.store.snapshot("a")
        assert snapshot is not None
        return snapshot.record.failure


@pytest.fixture
def backend() -> Backend:
    return Backend()


def raise_error(error: Exception) -> Callable[..., None]:
    def call(*_: object) -> None:
        raise error

    return call


def test_each_shard_predicts_its_images_and_the_last_sends_the_judging(backend: Backend) -> None:
    predictor = FakePredictor()
    for shard in (1, 2):
        backend.run(shard, predictor)
        assert backend.judged == []
    backend.run(0, predictor)

    assert backend.judged == [backend.job]
    assert predictor.calls == [
        ("demo:m", "demo", tuple(NAMES[4:8])),
        ("demo:m", "demo", tuple(NAMES[8:])),
        ("demo:m", "demo", tuple(NAMES[:4])),
    ]
    results = backend.store.shard_results(backend.job)
    assert [top1 for result in results for top1 in result.predictions.top1.tolist()] == list(range(10))
    assert [result.model_info for result in results] == [INFO] * 3


def test_progress_is_reported_after_each_batch(backend: Backend) -> None:
    progress: list[int] = []

    def record_progress(_: int) -> None:
        job = backend.store.job(backend.job)
        assert job is not None
        progress.append(job.done)

    backend.run(0, FakePredictor(record_progress, size=1))

    assert progress == [0, 1, 2, 3]


def test_the_lease_is_renewed_during_slow_batches_and_loads(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a load and batches that each take almost a whole lease, no other worker can claim the shard."""
    monkeypatch.setattr(worker, "RENEW_SECONDS", 0.001)  # seconds of the real clock; the lease uses the store's clock
    claims: list[ClaimOutcome] = []

    def lease() -> float:
        job = backend.store.job(backend.job)
        assert job is not None
        return job.shards[0].lease

    def slow(*_: object) -> None:
        backend.clock.now += LEASE_SECONDS - 1
        deadline = time.monotonic() + 10
        while lease() < backend.clock.now + LEASE_SECONDS and time.monotonic() < deadline:
            time.sleep(0.001)
        claims.append(backend.store.change_shard(transitions.claim, backend.job, 0, "w2", LEASE_SECONDS).kind)

    backend.run(0, FakePredictor(slow, load=slow, size=1))

    assert claims == [ClaimOutcome.WAIT] * 5
    assert backend.shard_state(0) is State.SUCCEEDED


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "runs", "ends"),
    [
        (None, 1, 0),
        (ModelRefused("21841 outputs"), 1, 1),
        (ValueError("temporary"), 3, 0),
        (ValueError("no"), 4, 1),
    ],
)
def test_the_failure_of_a_job_is_reported_once(backend: Backend, error: Exception | None, runs: int, ends: int) -> None:
    for _ in range(runs):
        with suppress(RetryLater):
            backend.run(0, FakePredictor(load=raise_error(error) if error else lambda: None))
        backend.clock.now += 100
    backend.run(0, FakePredictor())

    assert backend.finished == [backend.job] * ends


def test_the_failure_of_a_job_that_crashed_too_many_workers_is_reported(backend: Backend) -> None:
    for _ in range(MAX_CRASHES):
        backend.store.change_shard(transitions.claim, backend.job, 0, "dies", LEASE_SECONDS)
        backend.clock.now += LEASE_SECONDS + max(CRASH_DELAYS)

    with structlog.testing.capture_logs() as logs:
        for shard in range(3):  # the shard that crashes repeatedly comes last
            backend.run(shard, FakePredictor())

    assert [(log["job"], log["shard"]) for log in logs if log["log_level"] == "error"] == [(backend.job, 0)]
    assert backend.finished == [backend.job]
    assert backend.judged == []
    assert backend.failure is not None
    assert backend.failure.reason == "WORKER_LOST"


@pytest.mark.parametrize("error", [None, ModelRefused("21841 outputs"), ValueError("oops")])
def test_renewal_stops_when_a_shard_ends(backend: Backend, error: Exception | None) -> None:
    with suppress(RetryLater):
        backend.run(0, FakePredictor(load=raise_error(error) if error else lambda: None))

    assert "renew-lease" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("seconds", [0.0, 0.0015, 4.9996])
def test_a_message_is_never_delivered_before_its_delay_has_passed(seconds: float) -> None:
    """The engine rounds the time of the delivery down to milliseconds."""
    delay = RetryLater(seconds).delay

    assert delay is not None
    assert delay - 1 >= seconds * 1000


def test_a_shard_of_another_worker_is_retried_later(backend: Backend) -> None:
    job = backend.store.job(backend.job)
    assert job is not None
    for index in range(job.num_shards):  # otherwise, the worker takes another shard
        backend.store.change_shard(transitions.claim, backend.job, index, "w0", LEASE_SECONDS)
    predictor = FakePredictor()

    with pytest.raises(RetryLater) as later:
        backend.run(0, predictor)

    assert later.value.seconds == pytest.approx(LEASE_SECONDS)
    assert predictor.calls == []


def test_a_message_of_an_ended_job_loads_no_model(backend: Backend) -> None:
    backend.store.cancel("a", "")
    loads: list[None] = []

    backend.run(0, FakePredictor(load=lambda: loads.append(None)))

    assert loads == []
    assert backend.judged == []


@pytest.mark.parametrize(
    "error",
    [
        PermanentError("impossible"),
        ModelRefused("21841 outputs"),
        ImagesMissing("no folder"),
        ModelNotFound("no such model"),
        InvalidModelId("outside of the folder"),
    ],
)
@pytest.mark.parametrize("moment", ["load", "predict"])
def test_a_permanent_error_fails_the_job(backend: Backend, error: ErrataError, moment: str) -> None:
    backend.run(0, FakePredictor(load=raise_error(error)) if moment == "load" else FakePredictor(raise_error(error)))

    assert backend.failure == Failure(error.reason, error.message)
    assert backend.store.change_shard(transitions.claim, backend.job, 1, "w2", LEASE_SECONDS).kind is ClaimOutcome.SKIP


@pytest.mark.parametrize(
    ("error", "level"),
    [(ModelNotFound("no such model"), "info"), (ImagesMissing("http://u:secret@host/images"), "warning")],
)
def test_a_permanent_error_is_a_warning_if_the_failure_hides_a_part(
    backend: Backend, error: ErrataError, level: str
) -> None:
    with structlog.testing.capture_logs() as logs:
        backend.run(0, FakePredictor(load=raise_error(error)))

    assert [(entry["log_level"], entry["error"]) for entry in logs if entry["event"] == "shard failed"] == [
        (level, str(error))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("error", [Unavailable("away"), OSError("disk"), MemoryError(), RuntimeError("CUDA")])
def test_a_transient_error_is_retried_three_times_with_growing_delays(backend: Backend, error: Exception) -> None:
    predictor = FakePredictor(raise_error(error))
    for delay in (5.0, 10.0, 20.0):
        with pytest.raises(RetryLater) as later:
            backend.run(0, predictor)
        assert later.value.seconds == pytest.approx(delay)
        assert backend.failure is None
        backend.clock.now += delay

    backend.run(0, predictor)

    assert backend.failure is not None
    assert backend.failure.reason == ("UNAVAILABLE" if isinstance(error, Unavailable) else "INTERNAL")
    assert len(predictor.calls) == 4


@pytest.mark.parametrize(
    ("error", "level"), [(Unavailable("The hub cannot be reached."), "warning"), (RuntimeError("CUDA"), "error")]
)
def test_only_an_unexpected_transient_error_is_logged_with_its_traceback(
    backend: Backend, error: Exception, level: str
) -> None:
    with structlog.testing.capture_logs() as logs:
        for delay in (5.0, 10.0, 20.0, None):
            with suppress(RetryLater):
                backend.run(0, FakePredictor(raise_error(error)))
            backend.clock.now += delay or 0.0

    events = [log for log in logs if log["event"] == "shard failed with a transient error"]
    assert [event["retry_in"] for event in events] == pytest.approx([5.0, 10.0, 20.0, None])
    assert {(event["log_level"], event.get("exc_info"), event.get("error")) for event in events} == {
        (level, None, "The hub cannot be reached.") if level == "warning" else (level, True, None)
    }


def test_a_shard_recovers_from_a_transient_error(backend: Backend) -> None:
    with pytest.raises(RetryLater):
        backend.run(0, FakePredictor(lambda number: raise_error(OSError())() if number else None))
    backend.clock.now += 5

    backend.run(0, FakePredictor())

    assert backend.shard_state(0) is State.SUCCEEDED
    assert backend.store.shard_results(backend.job)[0].predictions.top1.tolist() == [0, 1, 2, 3]


def test_missing_image_names_are_retried_later(backend: Backend) -> None:
    for shard in range(3):  # it is the turn of the older job before
        backend.run(shard, FakePredictor())
    spec = JobSpec("demo:m", "demo", "e", "not-stored", 10, 4, fresh=True)
    backend.job = backend.store.submit(
        AnalysisRecord("b", AnalysisRequest("demo", "demo:m"), "d", "e", created=0.0), spec, limit=9
    ).job

    with pytest.raises(RetryLater):
        backend.run(0, FakePredictor())


class FrozenStore(InMemoryJobStore):
    """A store that does not answer the first calls for image names."""

    refusals = 2

    def image_names(self, digest: str) -> Sequence[str]:
        if self.refusals:
            self.refusals -= 1
            raise Unavailable("The job store does not answer.", retry_after=2.0)
        return super().image_names(digest)


def test_a_store_that_does_not_answer_before_the_first_batch_costs_no_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Backend(FrozenStore)
    monkeypatch.setattr("service.jobs.worker.RETRY_SECONDS", 0.01)
    backend.run(0, FakePredictor())

    job = backend.store.job(backend.job)
    assert job is not None
    assert (job.shards[0].state, job.shards[0].retries) == (State.SUCCEEDED, 0)


def test_a_cancelled_shard_stops_at_its_batch(backend: Backend) -> None:
    batches: list[int] = []

    def cancel(number: int) -> None:
        batches.append(number)
        backend.store.cancel("a", "")

    backend.run(0, FakePredictor(cancel, size=1))

    assert batches == [0]
    assert backend.judged == []


def test_a_job_that_is_cancelled_while_its_model_loads_predicts_nothing(backend: Backend) -> None:
    def cancel() -> None:
        backend.store.cancel("a", "")

    predictor = FakePredictor(load=cancel)

    backend.run(0, predictor)

    assert predictor.calls == []


def test_a_worker_that_lost_its_shard_stops_and_the_other_result_stays(backend: Backend) -> None:
    other = np.array([7, 7, 7, 7], dtype=np.int16)

    def frozen(number: int) -> None:
        if number == 1:
            backend.clock.now += LEASE_SECONDS + 1
            claim = backend.store.change_shard(transitions.claim, backend.job, 0, "other", LEASE_SECONDS)
            backend.store.change_shard(
                transitions.finish, backend.job, 0, claim.fencing_token, ShardResult(Predictions(other), INFO)
            )

    backend.run(0, FakePredictor(frozen))

    assert backend.store.shard_results(backend.job)[0].predictions.top1.tolist() == [7] * 4
    assert backend.failure is None


def test_an_error_of_a_worker_that_lost_its_shard_fails_nothing(backend: Backend) -> None:
    def frozen(_: int) -> None:
        backend.clock.now += LEASE_SECONDS + 1
        backend.store.change_shard(transitions.claim, backend.job, 0, "other", LEASE_SECONDS)
        raise ModelRefused("too late")

    backend.run(0, FakePredictor(frozen))

    assert backend.failure is None
    assert backend.shard_state(0) is State.RUNNING


def test_draining_releases_a_long_shard_after_the_batch(backend: Backend) -> None:
    backend.run(0, FakePredictor(lambda _: backend.drain.set(), size=1))

    job = backend.store.job(backend.job)
    assert job is not None
    shard = job.shards[0]
    assert (shard.state, shard.crashes, shard.retries, shard.done) == (State.QUEUED, 0, 0, 0)
    assert backend.store.shard_results(backend.job) == []


def test_draining_after_the_last_batch_finishes_the_shard(backend: Backend) -> None:
    backend.run(0, FakePredictor(lambda number: backend.drain.set() if number else None, size=2))

    assert backend.shard_state(0) is State.SUCCEEDED


def test_an_error_of_a_worker_that_stops_counts_as_a_retry(backend: Backend) -> None:
    def lose_device() -> None:
        backend.drain.set()
        raise WorkerLost("The process that runs models did not start: device 'cuda:0' is not available.")

    with pytest.raises(RetryLater):
        backend.run(0, FakePredictor(load=lose_device))

    shard = backend.store.job(backend.job).shards[0]
    assert (shard.state, shard.crashes, shard.retries) == (State.QUEUED, 0, 1)
    assert backend.sent == []


def test_too_few_predictions_are_an_error(backend: Backend) -> None:
    with pytest.raises(RetryLater):
        backend.run(0, FakePredictor(skip=2))

    assert backend.shard_state(0) is State.QUEUED
    assert backend.store.shard_results(backend.job) == []


def test_the_same_weights_on_the_same_images_predict_once(backend: Backend) -> None:
    for shard in range(3):
        backend.run(shard, FakePredictor())
    again = submit_again(backend, fresh=False)
    predictor = FakePredictor()

    backend.job = again
    backend.run(0, predictor)

    assert predictor.calls == []
    assert backend.shard_state(0) is State.SUCCEEDED
    assert backend.store.shard_results(again)[0].predictions.top1.tolist() == [0, 1, 2, 3]


def test_images_that_could_not_be_read_are_predicted_again(backend: Backend) -> None:
    class UnreadableImage(FakePredictor):
        def predict(self, *args: Any) -> Iterator[Predictions]:
            for batch in super().predict(*args):
                yield Predictions(np.where(batch.top1 == 2, NO_PREDICTION, batch.top1).astype(np.int16))

    run_all_shards(backend, UnreadableImage())
    backend.job = submit_again(backend, fresh=False)

    backend.run(0, FakePredictor())

    assert backend.store.shard_results(backend.job)[0].predictions.top1.tolist() == [0, 1, 2, 3]


def test_images_that_were_replaced_are_predicted_again(backend: Backend) -> None:
    """The images of two data sets, such as ImageNet and ImageNet-C, can have the same names too."""
    run_all_shards(backend, FakePredictor())
    backend.job = submit_again(backend, fresh=False)
    predictor = FakePredictor()
    predictor.images_version = 2

    backend.run(0, predictor)

    assert len(predictor.calls) == 1


def test_a_fresh_job_ignores_cached_predictions(backend: Backend) -> None:
    run_all_shards(backend, FakePredictor())
    backend.job = submit_again(backend, fresh=True)
    predictor = FakePredictor()

    backend.run(0, predictor)

    assert len(predictor.calls) == 1


def run_all_shards(backend: Backend, predictor: FakePredictor) -> None:
    """Run the first job completely, so that the worker cannot take one of its shards instead of a later job's."""
    for shard in range(3):
        backend.run(shard, predictor)


def submit_again(backend: Backend, fresh: bool) -> str:
    spec = JobSpec("file:the_same_weights.pth#net", "demo", "e", "i", 10, 4, fresh=fresh)
    record = AnalysisRecord("b", AnalysisRequest("demo", "demo:m"), "d", "e", created=0.0)
    return backend.store.submit(record, spec, limit=9).job


def test_a_worker_leaves_jobs_that_it_cannot_run_to_others(backend: Backend) -> None:
    predictor = FakePredictor(load=raise_error(AssertionError("loaded")))

    with pytest.raises(RetryLater):
        backend.run(0, predictor, can_run=lambda spec: spec.dataset != "demo")

    assert backend.shard_state(0) is State.QUEUED
    assert backend.finished == []


@pytest.mark.parametrize(
    ("spec", "events"), [("damaged", ["damaged record in the job store"]), ('{"schema": 999}', [])]
)
def test_the_message_of_an_unreadable_job_is_not_lost_while_it_is_postponed(
    backend: Backend, spec: str, events: list[str]
) -> None:
    """A message that counts as lost is sent again, so that the messages of the shard would multiply."""
    backend.store.run(lambda tx: tx.write("HSET", f"errata:job:{backend.job}", "spec", spec))
    backend.clock.now += 60.0

    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(RetryLater) as later:
                backend.run(0, FakePredictor())

    assert [log["event"] for log in logs] == events  # logged once
    backend.clock.now += later.value.seconds
    assert {*backend.store.mark_lost_messages([MODELS])} == {(backend.job, 1), (backend.job, 2)}


def test_the_failure_of_a_job_is_reported_only_by_the_worker_that_caused_it(backend: Backend) -> None:
    def fail_elsewhere(_: int) -> None:
        claim = backend.store.change_shard(transitions.claim, backend.job, 1, "other", LEASE_SECONDS)
        backend.store.change_shard(transitions.fail, backend.job, 1, claim.fencing_token, Failure("OOPS", "failed"))
        raise OSError("the connection was reset")

    backend.run(0, FakePredictor(fail_elsewhere))

    assert backend.finished == []


def test_a_draining_worker_claims_no_shard_and_releases_the_one_it_loads(backend: Backend) -> None:
    backend.drain.set()
    with pytest.raises(RetryLater):
        backend.run(0, FakePredictor())
    assert backend.store.job(backend.job).shards[0].fencing_token == 0
    backend.drain.clear()

    predictor = FakePredictor(load=backend.drain.set)
    backend.run(0, predictor)

    assert backend.shard_state(0) is State.QUEUED
    assert predictor.calls == []
    assert backend.sent == [(backend.job, 0)]
    assert backend.store.job(backend.job).shards[0].crashes == 0


def wait_for_interrupt(backend: Backend, stop: Callable[[], object]) -> Callable[..., None]:
    """Return a call that stops the shard, then waits like a stuck model until it is interrupted."""

    def run(*_: object) -> None:
        stop()
        assert backend.interrupted.wait(30)
        raise InterruptedError("The process was killed.")

    return run


def lose_lease(backend: Backend) -> None:
    """Let another worker claim the shard."""
    backend.clock.now += LEASE_SECONDS + 1
    assert (
        backend.store.change_shard(transitions.claim, backend.job, 0, "other", LEASE_SECONDS).kind
        is ClaimOutcome.CLAIMED
    )


@pytest.mark.parametrize("moment", ["load", "predict"])
def test_a_cancelled_job_interrupts_a_stuck_predictor(
    backend: Backend, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "RENEW_SECONDS", 0.001)
    monkeypatch.setattr(worker, "INTERRUPT_SECONDS", 0.01)
    stuck = wait_for_interrupt(backend, lambda: backend.store.cancel("a", ""))

    backend.run(0, FakePredictor(load=stuck) if moment == "load" else FakePredictor(stuck))

    assert backend.interrupted.is_set()
    assert backend.failure == Failure("CANCELLED", "")
    assert backend.finished == []


@pytest.mark.parametrize("moment", ["load", "predict"])
def test_a_lost_lease_interrupts_a_stuck_predictor_without_a_failure(
    backend: Backend, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "RENEW_SECONDS", 0.001)
    monkeypatch.setattr(worker, "INTERRUPT_SECONDS", 0.01)
    stuck = wait_for_interrupt(backend, lambda: lose_lease(backend))

    backend.run(0, FakePredictor(load=stuck) if moment == "load" else FakePredictor(stuck))

    job = backend.store.job(backend.job)
    assert job is not None
    assert (job.shards[0].state, job.shards[0].worker) == (State.RUNNING, "other")
    assert (job.shards[0].retries, backend.failure) == (0, None)


def test_a_cancelled_batch_can_end_so_that_the_model_stays_loaded(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "RENEW_SECONDS", 0.001)
    renewed = threading.Event()
    change_shard = backend.store.change_shard

    def record_replies(*arguments: object) -> object:
        reply = change_shard(*arguments)  # type: ignore[arg-type]
        if reply is False:
            renewed.set()
        return reply

    monkeypatch.setattr(backend.store, "change_shard", record_replies)

    def cancel(_: int) -> None:
        backend.store.cancel("a", "")
        assert renewed.wait(30)

    backend.run(0, FakePredictor(cancel))

    assert not backend.interrupted.is_set()


def test_a_worker_whose_process_crashed_queues_the_shard_again(backend: Backend) -> None:
    with pytest.raises(RetryLater):
        backend.run(0, FakePredictor(raise_error(WorkerLost("It ended with SIGSEGV."))))

    assert backend.shard_state(0) is State.QUEUED

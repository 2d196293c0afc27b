"""The worker: claims a shard, predicts it batch by batch, and stores the result or the failure."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event
from typing import ParamSpec, Protocol, TypeVar

import structlog
from dramatiq.errors import Retry
from errata.errors import DamagedRecord, InvalidInput, NewerRecord, NotFound, PermanentError, Unavailable

from service import tracing
from service.domain import LabelSpace, ModelInfo, Observer, Predictions, Stage, State
from service.jobs.base_store import HEARTBEAT_SECONDS
from service.jobs.store import JobStore
from service.jobs.transitions import NO_RETRY, ClaimOutcome, Job, JobSpec, LeaseReply, ShardResult, failure_of
from service.periodic_task import PeriodicTask

LEASE_SECONDS = HEARTBEAT_SECONDS * 2 / 3  # default duration of a lease
RENEW_SECONDS = 1.0  # interval between two renewals of a lease; each renewal can notice a cancellation
INTERRUPT_SECONDS = 2.0  # time for a lost shard to stop after its batch; an interruption unloads the model
STORE_WAIT_SECONDS = 3600.0  # maximum wait of a finished shard for an unavailable store
INCAPABLE_SECONDS = 5.0  # delay before a shard that this worker cannot run is delivered again
MAX_COMPETITORS = 16  # attempts, for one message, to claim a shard that another worker may claim first
RETRY_SECONDS = 1.0  # interval between two calls of an unavailable store
_log = structlog.get_logger()
Reply = TypeVar("Reply")
Arguments = ParamSpec("Arguments")


class Predictor(Protocol):
    """Runs models. Not thread-safe."""

    def load(self, model: str, label_space: LabelSpace | None = None) -> ModelInfo:
        """Load a model unless it was the last model loaded; return its description.

        Args:
            model: Model ID.
            label_space: The classes to predict; None: ImageNet-1k.

        Raises:
            ModelNotFound: The model does not exist.
            ModelRefused: The model cannot be used, or does not support this label space.
        """
        ...

    def predict(
        self, model: str, dataset: str, names: Sequence[str], label_space: LabelSpace | None = None
    ) -> Iterator[Predictions]:
        """Yield predictions batch by batch; a batch takes less than a second."""
        ...


class Drain(Event):
    """An event that is set when a worker must stop, and the time at which the grace period ends."""

    deadline = 0.0  # end of the grace period, in seconds of the monotonic clock

    def start(self, grace_period: float) -> None:
        """Start draining; the worker has `grace_period` seconds to stop."""
        self.deadline = time.monotonic() + grace_period
        self.set()

    def expires_within(self, seconds: float) -> bool:
        """Return whether the grace period ends within a number of seconds; False unless the worker drains."""
        return self.is_set() and time.monotonic() + seconds > self.deadline


class RetryLater(Retry):
    """Raised when a message must be delivered again after a number of seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"in {seconds:.1f} s", delay=max(1, int(seconds * 1000)))
        self.seconds = seconds


@dataclass(frozen=True)
class Worker:
    """One worker with its store, predictor, and callbacks."""

    name: str
    store: JobStore
    predictor: Predictor
    drain: Drain
    send_judging: Callable[[str], None]  # called with a job whose shards are all done
    requeue: Callable[[str, int], None]  # called with a released shard
    on_job_failed: Callable[[str], None]  # called with a failed job
    interrupt: Callable[[], None] = lambda: None  # stops the running call of the predictor
    observer: Observer = field(default_factory=Observer)
    can_run: Callable[[JobSpec], bool] = lambda _: True  # whether this worker can run a job
    lease: float = LEASE_SECONDS
    leases: "list[ShardLease]" = field(default_factory=list)  # lease of the running shard; empty if there is none

    def run(self, job_id: str, shard: int) -> None:
        """Handle a message: predict the shards of dead workers first, then the shard whose turn it is.

        The engine also redelivers the messages of dead workers, but puts them at the end of the queue. A shard that
        has crashed a worker before waits there for its message.

        Raises:
            RetryLater: The message must be delivered again.
        """
        try:
            for other in self.store.expired_shards():
                if other != (job_id, shard):
                    with suppress(RetryLater):  # the message of the other shard is delivered again anyway
                        self._run_claimed(self._claim(*other))
            self._run_claimed(self._claim_turn(job_id, shard))
        except Unavailable as error:
            raise RetryLater(RETRY_SECONDS) from error

    def _claim_turn(self, job_id: str, shard: int) -> "ShardLease | None":
        """Claim the shard whose turn it is, or the shard of the message if no other shard is available."""
        for _ in range(MAX_COMPETITORS):
            turn = self.store.next_shard(job_id, shard, self.can_run)
            if turn in (None, (job_id, shard)):
                break
            with suppress(RetryLater):  # another worker was faster
                if (lease := self._claim(*turn)) is not None:
                    return lease
        return self._claim(job_id, shard)

    def _run_claimed(self, lease: "ShardLease | None") -> None:
        if lease is None:
            return
        job, shard, spec = lease.job, lease.shard, lease.job.spec
        attributes = job.trace_attributes | {"errata.shard": shard}
        tracing.record_wait("queue wait", spec.trace, _waiting_since(job, shard), attributes)
        context = {"job": job.id, "shard": shard, "fence": lease.key[-1], "model": spec.model}
        context |= {"analyses": sorted(job.analyses), "request": spec.call_id}
        with (
            tracing.span("shard", tracing.Kind.CONSUMER, spec.trace, attributes),
            structlog.contextvars.bound_contextvars(**context),  # also for the log events of the predictor
        ):
            self._predict(lease)

    def _predict(self, lease: "ShardLease") -> None:
        self.leases.append(lease)
        _log.info("shard claimed")
        try:
            # The lease is renewed until the result is stored, because the store may be unavailable.
            with PeriodicTask("renew-lease", lease.renew, min(RENEW_SECONDS, self.lease / 4)):
                result = lease.predict()
                if result is None:
                    _log.info("shard stopped")
                    return
                left = self.retry_while_unavailable(self.store.finish_shard, *lease.key, result)
            _log.info("shard done", left=left, seconds=round(time.monotonic() - lease.start_time, 3))
            if left is None:
                _log.warning("late shard result refused", cause="another worker has the shard")
            elif left == 0:
                self.retry_while_unavailable(self.send_judging, lease.job.id)
        except Exception as error:
            if lease.lost:
                _log.info("shard stopped", error=str(error))
            elif isinstance(error, PermanentError | InvalidInput | NotFound):
                self._fail(lease, error)
            else:
                self._retry(lease, error)
        finally:
            self.leases.remove(lease)

    def _fail(self, lease: "ShardLease", error: Exception) -> None:
        """End the job as failed, because a retry would fail too."""
        _log.warning("shard failed", error=str(error))
        tracing.set_error(error)
        if self.retry_while_unavailable(self.store.fail_job, *lease.key, failure_of(error)):
            self.on_job_failed(lease.job.id)

    def _retry(self, lease: "ShardLease", error: Exception) -> None:
        """Queue the shard again and raise RetryLater, unless the retries are exhausted or the lease is lost."""
        failure = failure_of(error)
        tracing.set_error(error)
        delay = self.retry_while_unavailable(self.store.retry_shard, *lease.key, failure)
        _log.exception("shard failed with a transient error", retry_in=delay)
        if delay == NO_RETRY:
            self.on_job_failed(lease.job.id)
        elif delay is not None:
            self.observer.shard_retried(failure.reason)
            raise RetryLater(delay) from error

    def release_shards(self) -> None:
        """Release the running shard, because this worker must stop before the end of the batch."""
        for lease in list(self.leases):
            with suppress(Unavailable):
                lease.release_shard()

    def _claim(self, job_id: str, shard: int) -> "ShardLease | None":
        """Claim a shard, unless it has ended; raise RetryLater if it is not available to this worker."""
        if self.drain.is_set():
            raise RetryLater(RETRY_SECONDS)
        try:
            job = self.store.job(job_id)
            if job is None or job.state.is_final or self.can_run(job.spec):
                claim = self.store.claim_shard(job_id, shard, self.name, self.lease)
                if claim.kind is ClaimOutcome.WAIT:
                    raise RetryLater(claim.delay)
                if claim.kind is ClaimOutcome.JOB_FAILED:
                    self.on_job_failed(job_id)
                is_claimed = claim.kind is ClaimOutcome.CLAIMED
                return ShardLease(self, job, shard, claim.fencing_token) if job and is_claimed else None
        except (NewerRecord, DamagedRecord):  # this version cannot run the job, like a job of other workers
            pass
        with suppress(Unavailable):
            self.store.postpone_shard(job_id, shard, INCAPABLE_SECONDS)
        raise RetryLater(INCAPABLE_SECONDS)

    def retry_while_unavailable(
        self, call: Callable[Arguments, Reply], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Reply:
        """Repeat a call while the store is unavailable, so that no predictions are lost during a restart of Redis.

        Raises:
            Unavailable: The error is permanent, or the worker cannot wait any longer.
        """
        deadline = time.monotonic() + STORE_WAIT_SECONDS
        while True:
            try:
                return call(*args, **kwargs)
            except Unavailable as error:
                is_permanent = error.retry_after is None
                if is_permanent or time.monotonic() > deadline or self.drain.expires_within(RETRY_SECONDS):
                    raise
                _log.warning("job store unavailable", error=str(error))
                time.sleep(RETRY_SECONDS)


class ShardLease:
    """The lease of a shard that this worker has claimed."""

    def __init__(self, worker: Worker, job: Job, shard: int, fencing_token: int) -> None:
        self._worker = worker
        self.job = job
        self.shard = shard
        self.key = job.id, shard, fencing_token  # the arguments that identify the lease in the store
        self.start_time = time.monotonic()
        self.lost = False  # the job was canceled, or another worker has the shard
        self._last_progress: float | None = None  # end of the last batch; None while the model is loaded

    def predict(self) -> ShardResult | None:
        """Return the shard's predictions; None if the shard was canceled, lost, or released meanwhile."""
        worker, spec = self._worker, self.job.spec
        start, stop = spec.bounds(self.shard)
        label_space = None
        if spec.classes:
            label_space = worker.retry_while_unavailable(worker.store.label_space, spec.classes)
        with worker.observer.stage(Stage.LOAD):
            info = worker.predictor.load(spec.model, label_space)
        if worker.drain.is_set():
            self.release_shard()
            return None
        names = worker.retry_while_unavailable(worker.store.image_names, spec.images)[start:stop]
        if self._report_progress(0) is not LeaseReply.OK:
            return None
        key = spec.shard_result_key(self.shard, info)
        if not spec.fresh:
            cached = None
            with suppress(Unavailable):
                cached = worker.store.cached_shard_result(key)
            is_hit = cached is not None and len(cached.predictions.top1) == len(names)
            worker.observer.cache_lookup("predictions", is_hit)
            if cached is not None and is_hit:
                return ShardResult(cached.predictions, info)
        with worker.observer.stage(Stage.INFERENCE):
            batches = self._predict_batches(names, label_space)
        if batches is None:
            return None
        result = ShardResult(Predictions.concatenate(batches), info)
        if result.predictions.top1.min(initial=0) >= 0:  # images unreadable now may be readable next time
            with suppress(Unavailable):
                worker.store.store_shard_result(key, result)
        return result

    def _predict_batches(self, names: Sequence[str], label_space: LabelSpace | None) -> list[Predictions] | None:
        """Return the predictions of images, batch by batch; None if the shard is stopped meanwhile."""
        worker, spec = self._worker, self.job.spec
        batches: list[Predictions] = []
        done, start_time = 0, time.monotonic()
        for batch in worker.predictor.predict(spec.model, spec.dataset, names, label_space):
            batches.append(batch)
            done += len(batch.top1)
            worker.observer.batch_predicted(len(batch.top1))
            if self._report_progress(done) is not LeaseReply.OK:
                return None
            seconds_left = (len(names) - done) * (time.monotonic() - start_time) / done
            if done < len(names) and worker.drain.expires_within(seconds_left):
                self.release_shard()
                return None
        assert done == len(names), f"this is a bug: {done} predictions for {len(names)} images"
        return batches

    def _report_progress(self, done: int) -> LeaseReply:
        """Report the progress; return OK if the store is unavailable, because the next batch reports again."""
        self._last_progress = time.monotonic()
        try:
            return self._worker.store.report_progress(*self.key, done)
        except Unavailable:
            return LeaseReply.OK

    def release_shard(self) -> None:
        """Queue the shard again for another worker, without counting a retry."""
        worker = self._worker
        if worker.retry_while_unavailable(worker.store.release_shard, *self.key):
            worker.retry_while_unavailable(worker.requeue, self.job.id, self.shard)

    def renew(self) -> None:
        """Renew the lease; if it is lost and the current batch or load takes too long, interrupt the predictor."""
        reply = self._worker.store.renew_lease(*self.key, self._worker.lease)
        self.lost = reply is not LeaseReply.OK
        is_stuck = self._last_progress is None or time.monotonic() - self._last_progress > INTERRUPT_SECONDS
        if self.lost and is_stuck:
            self._worker.interrupt()


def _waiting_since(job: Job, shard: int) -> float:
    """Return when a shard began to wait: when its message was sent, or when the lease of its dead worker ended."""
    waiting = job.shards[shard]
    since = waiting.lease if waiting.state is State.RUNNING else waiting.sent or job.created
    return min(since, time.time())  # the message of a postponed shard may be sent later

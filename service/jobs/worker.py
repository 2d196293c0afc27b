"""The worker: claims a shard, predicts it batch by batch, and stores the result or the failure."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import structlog
from dramatiq.errors import Retry
from errata.errors import DamagedRecord, InvalidInput, NewerRecord, NotFound, PermanentError, Unavailable

from service import tracing
from service.domain import LabelSpace, ModelInfo, Observer, Predictions, Stage
from service.jobs import transitions
from service.jobs.store import JobStore
from service.jobs.transitions import (
    INCAPABLE_SECONDS,
    NO_RETRY,
    Claim,
    ClaimOutcome,
    Job,
    JobSpec,
    JobStatus,
    Shard,
    ShardResult,
    Step,
    failure_of,
)
from service.periodic_task import PeriodicTask
from service.redact import log_fields

RENEW_SECONDS = 1.0  # interval between two renewals of a lease; each renewal can notice a cancellation
INTERRUPT_SECONDS = 2.0  # time for a lost shard to stop after its batch; an interruption unloads the model
STORE_WAIT_SECONDS = 3600.0  # maximum wait of a finished shard for an unavailable store
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

    def images_digest(self, dataset: str, names: Sequence[str]) -> str:
        """Return a digest of images and their order, which changes if an image is replaced."""
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
        # The engine truncates the time of the delivery to milliseconds. A message that arrived before a shard is
        # available, and whose own shard has ended, would be dropped, and the available shard would have no message.
        super().__init__(f"in {seconds:.1f} s", delay=math.ceil(seconds * 1000) + 1)
        self.seconds = seconds


@dataclass(frozen=True)
class Worker:
    """One worker with its store, predictor, and callbacks."""

    name: str
    store: JobStore
    predictor: Predictor
    drain: Drain
    send: Callable[[str, int | None], None]  # queues a shard of a job; None: the judging of the job
    on_job_failed: Callable[[str], None]  # called with a failed job
    interrupt: Callable[[], None] = lambda: None  # stops the running call of the predictor
    observer: Observer = field(default_factory=Observer)
    can_run: Callable[[JobSpec], bool] = lambda _: True  # whether this worker can run a job
    leases: "list[ShardLease]" = field(default_factory=list)  # lease of the running shard; empty if there is none

    def run(self, job_id: str, shard: int) -> None:
        """Handle a message: claim the shard whose turn it is, and predict it.

        Raises:
            RetryLater: The message must be delivered again.
        """
        if self.drain.is_set():
            raise RetryLater(RETRY_SECONDS)
        try:
            claim_next = partial(self.store.claim_next, (job_id, shard), self.name, self.can_run)
            claim, job, index = claim_next()
            while job is not None and claim.kind is ClaimOutcome.JOB_FAILED:
                _log.error("job failed: a shard crashed its workers", job=job.id, shard=index)
                self.on_job_failed(job.id)
                claim, job, index = claim_next()
            if claim.kind is ClaimOutcome.WAIT:
                raise RetryLater(claim.delay)
            if job is not None:
                self._run_claimed(ShardLease(self, job, index, claim))
        except (DamagedRecord, NewerRecord) as error:
            raise RetryLater(INCAPABLE_SECONDS) from error
        except Unavailable as error:
            raise RetryLater(RETRY_SECONDS) from error

    def _run_claimed(self, lease: "ShardLease") -> None:
        job, spec = lease.job, lease.job.spec
        attributes = job.trace_attributes | {"errata.shard": lease.shard}
        tracing.record_wait("queue wait", spec.trace, lease.claim.waiting_since, attributes)
        context = {"job": job.id, "shard": lease.shard, "fence": lease.claim.fencing_token, "model": spec.model}
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
            with PeriodicTask("renew-lease", lease.renew, min(RENEW_SECONDS, self.store.lease_seconds / 4)):
                result = lease.predict()
                if result is None:
                    _log.info("shard stopped")
                    return
                left = lease.change(transitions.finish, result)
            _log.info("shard done", left=left, seconds=round(time.monotonic() - lease.start_time, 3))
            if left is None:
                _log.warning("late shard result refused", cause="another worker has the shard")
            elif left == 0:
                self.retry_while_unavailable(self.send, lease.job.id, None)
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
        failure = failure_of(error)
        # A command with --local shows warnings beside the message of the failure.
        log = _log.info if failure.message == str(error) else _log.warning
        log("shard failed", error=str(error))
        tracing.set_error(error)
        if lease.change(transitions.fail, failure):
            self.on_job_failed(lease.job.id)

    def _retry(self, lease: "ShardLease", error: Exception) -> None:
        """Queue the shard again and raise RetryLater, unless the retries are exhausted or the lease is lost."""
        failure = failure_of(error)
        tracing.set_error(error)
        delay = lease.change(transitions.retry, failure)
        retry_in = None if delay == NO_RETRY else delay  # infinity is not valid JSON
        if isinstance(error, Unavailable):  # the cause is outside of this process, so a traceback does not help
            _log.warning("shard failed with a transient error", retry_in=retry_in, **log_fields(error))
        else:
            _log.exception("shard failed with a transient error", retry_in=retry_in)
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

    def __init__(self, worker: Worker, job: Job, shard: int, claim: Claim) -> None:
        self._worker = worker
        self.job = job
        self.shard = shard
        self.claim = claim
        self._key = job.id, shard, claim.fencing_token  # the arguments that identify the lease in the store
        self.start_time = time.monotonic()
        self.lost = False  # the job was canceled, or another worker has the shard
        self._last_progress: float | None = None  # end of the last batch; None while the model is loaded

    def change(
        self,
        transition: Callable[Concatenate[JobStatus, Shard, float, int, Arguments], Step[Reply]],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Reply:
        """Apply a transition to the shard, and return its reply. Repeat the call while the store is unavailable."""
        change = partial(self._worker.store.change_shard, transition, *self._key)
        return self._worker.retry_while_unavailable(change, *args, **kwargs)

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
        if not self._report_progress(0):
            return None
        key = spec.shard_result_key(info, worker.predictor.images_digest(spec.dataset, names))
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
            if not self._report_progress(done):
                return None
            seconds_left = (len(names) - done) * (time.monotonic() - start_time) / done
            if done < len(names) and worker.drain.expires_within(seconds_left):
                self.release_shard()
                return None
        assert done == len(names), f"this is a bug: {done} predictions for {len(names)} images"
        return batches

    def _report_progress(self, done: int) -> bool:
        """Report the progress; return whether to continue, also while the store is unavailable."""
        self._last_progress = time.monotonic()
        try:
            return self._worker.store.change_shard(transitions.progress, *self._key, done)
        except Unavailable:
            return True  # the next batch reports again

    def release_shard(self) -> None:
        """Queue the shard again for another worker, without counting a retry."""
        worker = self._worker
        if self.change(transitions.release):
            worker.retry_while_unavailable(worker.send, self.job.id, self.shard)

    def renew(self) -> None:
        """Renew the lease; if it is lost and the current batch or load takes too long, interrupt the predictor."""
        store = self._worker.store
        self.lost = not store.change_shard(transitions.renew, *self._key, store.lease_seconds)
        is_stuck = self._last_progress is None or time.monotonic() - self._last_progress > INTERRUPT_SECONDS
        if self.lost and is_stuck:
            self._worker.interrupt()

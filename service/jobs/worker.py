"""What happens to one shard: claim it, predict batch by batch, keep the part, or say why not."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Protocol, TypeVar

import structlog
from errata.errors import InvalidInput, NotFound, PermanentError, Unavailable

from service.domain import ModelInfo, Predictions, State
from service.jobs.store import JobStore
from service.jobs.transitions import Claim, ClaimKind, Job, JobSpec, LeaseReply, ShardResult, failure_of, joined

LEASE = 20.0  # seconds that a claim holds without a beat
BEAT = 5.0  # seconds between beats
RENEW_SECONDS = 1.0  # between renewals of a lease: within this time a cancellation ends the load that it meets
BATCH_SECONDS = 2.0  # that a stopped shard may take to end by itself, which keeps the model loaded
PATIENCE = 3600.0  # seconds that a finished part waits for a store that is away
UNABLE_SECONDS = 5.0  # before a shard that this worker can't run is offered again
RETRY_SECONDS = 1.0  # between two tries of a store that is away
_log = structlog.get_logger()
Answer = TypeVar("Answer")


class Predictor(Protocol):
    """Runs models. One caller at a time."""

    def load(self, model: str) -> ModelInfo:
        """Make a model ready and describe it; the one loaded last is kept. Raise ModelNotFound or ModelRefused."""
        ...

    def predict(self, model: str, dataset: str, names: Sequence[str]) -> Iterator[Predictions]:
        """Yield predictions batch by batch; a batch takes less than a second."""
        ...


class Drain(Event):
    """Set when a worker is to stop; `begin` says how long it may take."""

    until = 0.0  # of the monotonic clock

    def begin(self, grace: float) -> None:
        """Ask the worker to stop within `grace` seconds."""
        self.until = time.monotonic() + grace
        self.set()

    def ends_before(self, seconds: float) -> bool:
        """Say whether the worker is to stop before work that takes this long would end."""
        return self.is_set() and time.monotonic() + seconds > self.until


class RetryLater(Exception):
    """Raised when the shard's message must come again after a delay."""

    def __init__(self, delay: float) -> None:
        super().__init__(f"in {delay:.1f} s")
        self.delay = delay


@dataclass(frozen=True)
class Worker:
    """One worker: what it works with, and whom it tells."""

    name: str
    store: JobStore
    predictor: Predictor
    drain: Drain
    judge: Callable[[str], None]  # called with a job whose last shard is done
    send_again: Callable[[str, int], None]  # called with a shard that is handed back
    on_finished: Callable[[str], None]  # called with a job that has failed
    predicted: Callable[[int], None]  # told of each batch
    interrupt: Callable[[], None] = lambda: None  # called when what the predictor does now is wanted no more
    retried: Callable[[str], None] = lambda _: None  # told of each shard that is queued again: the error's reason
    on_cache_lookup: Callable[[bool], None] = lambda _: (
        None
    )  # told of each look for predictions that were kept: whether it hit
    stage_timer: Callable[[], AbstractContextManager[object]] = nullcontext  # a block in which a shard is predicted
    can: Callable[[JobSpec], bool] = lambda _: True  # whether this worker has what a job needs
    lease: float = LEASE
    holds: "list[ShardLease]" = field(default_factory=list)  # the shard in hand

    def run(self, job_id: str, shard: int) -> None:
        """Predict one shard; raise ComeBack to be called again."""
        if self.drain.is_set():
            raise RetryLater(RETRY_SECONDS)
        job, claimed = self._claim(job_id, shard)
        if claimed.kind is ClaimKind.LOST:
            self.on_finished(job_id)
        if claimed.kind is not ClaimKind.TAKEN or job is None:
            return
        hold = ShardLease(self, job, shard, claimed.fencing_token)
        self.holds.append(hold)
        known = {"job": job_id, "shard": shard, "fence": claimed.fencing_token, "model": job.spec.model}
        known |= {"analyses": sorted(job.analyses), "request": job.spec.asked}
        log = _log.bind(**known)
        bound = structlog.contextvars.bind_contextvars(**known)  # for what the predictor logs
        log.info("shard taken")
        try:
            with hold.kept():  # until the part is handed in, however long the store is away
                part = hold.predicted()
                if part is None:
                    log.info("shard stopped")
                    return
                left = self.patiently(lambda: self.store.finish_shard(job_id, shard, claimed.fencing_token, part))
            log.info("shard done", left=left, seconds=round(time.monotonic() - hold.began, 3))
            if left is None:
                log.warning("a late result was refused: another worker has the shard")
            elif left == 0:
                self.patiently(lambda: self.judge(job_id))
        except Exception as error:
            if hold.lost:
                log.info("shard stopped", error=str(error))
            elif isinstance(error, PermanentError | InvalidInput | NotFound):
                self._fail(hold, error)
            else:
                self._retry(hold, error)
        finally:
            self.holds.remove(hold)
            structlog.contextvars.reset_contextvars(**bound)

    def _fail(self, hold: "ShardLease", error: Exception) -> None:
        """End the job: it would fail again."""
        _log.warning("shard failed", error=str(error))
        failure = failure_of(error)
        if self.patiently(lambda: self.store.fail(hold.job.id, hold.shard, hold.fencing_token, failure)):
            self.on_finished(hold.job.id)

    def _retry(self, hold: "ShardLease", error: Exception) -> None:
        """Queue the shard again; raise ComeBack, unless it was tried too often or another worker has it."""
        failure = failure_of(error)
        delay = self.patiently(lambda: self.store.retry(hold.job.id, hold.shard, hold.fencing_token, failure))
        _log.exception("shard met an error", retry_in=delay)
        if delay is not None:
            self.retried(failure.reason)
            raise RetryLater(delay) from error
        if _failed(self.store.job(hold.job.id)):
            self.on_finished(hold.job.id)

    def give_up(self) -> None:
        """Hand back the shard in hand, at the end of a worker that can't wait for its batch."""
        for hold in list(self.holds):
            with suppress(Unavailable):
                hold.release_shard()

    def _claim(self, job_id: str, shard: int) -> tuple[Job | None, Claim]:
        """Return the job and the claim; raise ComeBack where the shard or the store is away, or this worker unable."""
        try:
            job = self.store.job(job_id)
            if job is not None and not job.state.is_final and not self.can(job.spec):
                raise RetryLater(UNABLE_SECONDS)
            claimed = self.store.claim(job_id, shard, self.name, self.lease)
        except Unavailable as error:
            raise RetryLater(RETRY_SECONDS) from error
        if claimed.kind is ClaimKind.WAIT:
            raise RetryLater(claimed.delay)
        return job, claimed

    def patiently(self, call: Callable[[], Answer]) -> Answer:
        """Make a call until the store is there: what was predicted is not thrown away because Redis restarts.

        Raises:
            Unavailable: the error says that the call never passes, or the worker can't wait any longer.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return call()
            except Unavailable as error:
                never_passes = error.retry_after is None
                if never_passes or time.monotonic() > deadline or self.drain.ends_before(RETRY_SECONDS):
                    raise
                _log.warning("the store is away", error=str(error))
                time.sleep(RETRY_SECONDS)


class ShardLease:
    """A shard that this worker has claimed."""

    def __init__(self, worker: Worker, job: Job, shard: int, fencing_token: int) -> None:
        self._worker = worker
        self.job = job
        self.shard = shard
        self.fencing_token = fencing_token
        self.began = time.monotonic()
        self.lost = False  # the job was cancelled, or another worker has the shard
        self._moved: float | None = None  # when the last batch ended; None: the model is being loaded

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renew the hold every few seconds for the length of a block, whatever the block waits for."""
        done = Event()

        def renew() -> None:
            while not done.wait(min(RENEW_SECONDS, self._worker.lease / 4)):
                self._renew_leases()

        thread = Thread(target=renew, name="beat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def predicted(self) -> ShardResult | None:
        """Return the shard's predictions; None if it was cancelled, lost or handed back on the way."""
        worker, spec = self._worker, self.job.spec
        start, stop = spec.bounds(self.shard)
        info = worker.predictor.load(spec.model)
        if worker.drain.is_set():
            self.release_shard()
            return None
        names = worker.patiently(lambda: worker.store.images(spec.images))[start:stop]
        if self._progress(0) is not LeaseReply.OK:
            return None
        key = spec.part_key(self.shard, info)
        if not spec.fresh:
            kept = self._kept(key)
            hit = kept is not None and len(kept.predictions.top1) == len(names)
            worker.on_cache_lookup(hit)
            if kept is not None and hit:
                return ShardResult(kept.predictions, info)
        with worker.stage_timer():
            batches = self._batches(names)
        if batches is None:
            return None
        part = ShardResult(joined(batches), info)
        if part.predictions.top1.min(initial=0) >= 0:  # images that are missing now may be there the next time
            with suppress(Unavailable):
                worker.store.store_shard_result(key, part)
        return part

    def _batches(self, names: Sequence[str]) -> list[Predictions] | None:
        """Return the predictions of images, batch by batch; None if the shard is stopped on the way."""
        worker, spec = self._worker, self.job.spec
        batches: list[Predictions] = []
        done, began = 0, time.monotonic()
        for batch in worker.predictor.predict(spec.model, spec.dataset, names):
            batches.append(batch)
            done += len(batch.top1)
            worker.predicted(len(batch.top1))
            if self._progress(done) is not LeaseReply.OK:
                return None
            left = (len(names) - done) * (time.monotonic() - began) / done
            if done < len(names) and worker.drain.ends_before(left):
                self.release_shard()
                return None
        assert done == len(names), f"this is a bug: {done} predictions for {len(names)} images"
        return batches

    def _kept(self, key: str) -> ShardResult | None:
        """Return the predictions that the same weights gave for the same images before."""
        try:
            return self._worker.store.cached_shard_result(key)
        except Unavailable:
            return None

    def _progress(self, done: int) -> LeaseReply:
        """Tell how far it is; a store that is away is told later."""
        self._moved = time.monotonic()
        try:
            return self._worker.store.progress(self.job.id, self.shard, self.fencing_token, done)
        except Unavailable:
            return LeaseReply.OK

    def release_shard(self) -> None:
        """Queue the shard again, for another worker; nothing is counted."""
        worker = self._worker
        if worker.patiently(lambda: worker.store.release_shard(self.job.id, self.shard, self.fencing_token)):
            worker.patiently(lambda: worker.send_again(self.job.id, self.shard))

    def _renew_leases(self) -> None:
        """Renew the lease; end the work of the predictor if the job no longer needs it."""
        try:
            said = self._worker.store.renew_lease(self.job.id, self.shard, self.fencing_token, self._worker.lease)
            self.lost = said is not LeaseReply.OK
            if self.lost and (self._moved is None or time.monotonic() - self._moved > BATCH_SECONDS):
                self._worker.interrupt()
        except Unavailable as error:
            _log.warning("the store is away", error=str(error))
        except Exception:
            _log.exception("a beat met an error; the next one comes")


def _failed(job: Job | None) -> bool:
    return job is not None and job.state is State.FAILED

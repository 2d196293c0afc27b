"""What happens to one shard: claim it, predict batch by batch, keep the part, or say why not."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Protocol

import structlog

from service.domain import ModelInfo, Predictions, State
from service.errors import InvalidInput, NotFound, PermanentError
from service.jobs.record import ClaimKind, Job, Part, Said, failure_of, joined
from service.jobs.store import JobStore

LEASE = 20.0  # seconds
BEAT = 5.0  # seconds
_log = structlog.get_logger()


class Predictor(Protocol):
    """Runs models. One caller at a time."""

    def load(self, model: str) -> ModelInfo:
        """Make a model ready and describe it; the one loaded last is kept. Raise ModelNotFound or ModelRefused."""
        ...

    def predict(self, model: str, dataset: str, names: Sequence[str]) -> Iterator[Predictions]:
        """Yield predictions batch by batch; a batch takes less than a second."""
        ...


@contextmanager
def _beating(beat: Callable[[], object]) -> Iterator[None]:
    """Renew a hold every few seconds for the length of a block, whatever the block waits for."""
    done = Event()

    def renew() -> None:
        while not done.wait(BEAT):
            beat()

    thread = Thread(target=renew, name="beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class ComeBack(Exception):
    """Raised when the shard's message must come again after a delay."""

    def __init__(self, delay: float) -> None:
        super().__init__(f"in {delay:.1f} s")
        self.delay = delay


def run_shard(
    job_id: str,
    shard: int,
    *,
    store: JobStore,
    predictor: Predictor,
    worker: str,
    drain: Event,
    judge: Callable[[str], None],
    ended: Callable[[str], None],
) -> None:
    """Predict one shard; raise ComeBack to be called again.

    `judge` is called with the job when it was the last shard, `ended` when the job has failed.
    """
    claimed = store.claim(job_id, shard, worker, LEASE)
    if claimed.kind is ClaimKind.WAIT:
        raise ComeBack(claimed.delay)
    if claimed.kind is ClaimKind.LOST:
        ended(job_id)
    job = store.job(job_id)
    if claimed.kind is not ClaimKind.TAKEN or job is None:
        return
    log = _log.bind(job=job_id, shard=shard, fence=claimed.fence, model=job.spec.model)
    try:
        with _beating(lambda: store.beat(job_id, shard, claimed.fence, LEASE)):
            part = _predict(job_id, shard, claimed.fence, store, predictor, drain)
        if part is None:
            log.info("shard stopped")
            return
        left = store.finish_shard(job_id, shard, claimed.fence, part)
        if left is None:
            log.warning("a late result was refused: another worker has the shard")
        elif left == 0:
            judge(job_id)
    except (PermanentError, InvalidInput, NotFound) as error:
        log.warning("shard failed", error=str(error))
        if store.fail(job_id, shard, claimed.fence, failure_of(error)):
            ended(job_id)
    except Exception as error:
        delay = store.retry(job_id, shard, claimed.fence, failure_of(error))
        log.exception("shard met an error", retry_in=delay)
        if delay is not None:
            raise ComeBack(delay) from error
        if _failed(store.job(job_id)):
            ended(job_id)


def _failed(job: Job | None) -> bool:
    return job is not None and job.state is State.FAILED


def _predict(job_id: str, shard: int, fence: int, store: JobStore, predictor: Predictor, drain: Event) -> Part | None:
    """Return the shard's predictions; None if it was cancelled, lost or handed back on the way."""
    job = store.job(job_id)
    assert job is not None, "this is a bug: a claimed job has a record"
    start, stop = job.spec.bounds(shard)
    info = predictor.load(job.spec.model)
    if store.progress(job_id, shard, fence, 0) is not Said.OK:
        return None
    batches: list[Predictions] = []
    done = 0
    for batch in predictor.predict(job.spec.model, job.spec.dataset, store.images(job.spec.images)[start:stop]):
        batches.append(batch)
        done += len(batch.top1)
        if store.progress(job_id, shard, fence, done) is not Said.OK:
            return None
        if drain.is_set() and done < stop - start:
            store.hand_back(job_id, shard, fence)
            return None
    assert done == stop - start, f"this is a bug: {done} predictions for {stop - start} images"
    return Part(joined(batches), info)

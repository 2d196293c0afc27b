"""Jobs, shards, and their state transitions as pure functions. The job stores write the changes that they return.

queued -claim-> running -finish-> succeeded | failed | cancelled     (final)
running -> queued: transient error (retry_at, retries + 1) · release
running -> running: claim after the lease has expired (crashes + 1)
queued | running -> cancelled: immediately; a message of the job that is delivered later runs another shard, if any
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Generic, TypeVar

from errata.errors import ErrataError

from service.domain import REGISTRY_OWNER, AnalysisRequest, Failure, ModelInfo, Predictions, State
from service.redact import public_message

MAX_FINISHED = 1000  # failed and canceled analyses that a store retains; listing analyses reads all of them
MAX_SHARDS = 1_000_000  # a job with more shards is damaged
CRASH_DELAYS = 0.0, 10.0  # seconds until a shard runs again after its first and second crash, as in Kubernetes
MAX_CRASHES = len(CRASH_DELAYS) + 1
MAX_RETRIES = 3
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 5.0, 60.0
INCAPABLE_SECONDS = 5.0  # delay before a shard that a worker cannot run is delivered again
NO_RETRY = math.inf  # seconds
CRASHES, REFUSED = "crashes", "refused"  # counters: expired leases, and writes of workers whose lease was lost
Reply = TypeVar("Reply", covariant=True)


@dataclass(frozen=True)
class ShardResult:
    """The predictions of one shard, and the model that made them."""

    predictions: Predictions  # predictions for the shard's n images
    model_info: ModelInfo


@dataclass(frozen=True)
class JobSpec:
    """A computation: one model on the images of one data set, judged with one bundle."""

    model: str
    dataset: str
    evidence: str  # digest
    images: str  # digest of the image names
    total: int  # images
    shard_size: int  # images
    runtime: str = ""  # package versions of the workers: weights of a model name can differ between versions of timm
    fresh: bool = False  # whether cached and in-progress results are ignored
    call_id: str = ""  # request ID of the first request, for logs
    classes: str = ""  # digest of the classes of the label space; empty: ImageNet-1k
    trace: str = ""  # trace context of the first request; empty: not traced

    def shard_result_key(self, info: ModelInfo, images_digest: str) -> str:
        """Return the SHA-256 of a shard's inputs: the model with its settings, images, and classes.

        Args:
            info: The model.
            images_digest: The digest of the shard's images in the worker (`Predictor.images_digest`).
        """
        model = [info.architecture, info.weights_sha256, info.transform, info.settings_sha256]
        return _digest([*model, images_digest, *self._own_classes])

    @property
    def computation(self) -> str:
        """The SHA-256 of the inputs of the predictions: model, images, and classes, without the evidence."""
        return _digest([self.model, self.runtime, self.dataset, self.images, *self._own_classes])

    @property
    def dedupe_key(self) -> str:
        """The SHA-256 of the inputs of the result. Jobs with the same key are computed once."""
        return _digest([self.model, self.runtime, self.dataset, self.images, self.evidence])

    @property
    def _own_classes(self) -> Sequence[str]:
        """The digest of the classes; empty for ImageNet-1k, so that digests of earlier versions stay valid."""
        return [self.classes] if self.classes else []

    @property
    def num_shards(self) -> int:
        """The number of shards."""
        return -(-self.total // self.shard_size)

    def bounds(self, shard: int) -> tuple[int, int]:
        """Return the index of a shard's first image, and the index of its last image plus 1."""
        return shard * self.shard_size, min((shard + 1) * self.shard_size, self.total)


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Shard:
    """The state of one shard. Times are seconds of the store's clock."""

    state: State = State.QUEUED
    fencing_token: int = 0
    lease: float = 0.0  # end of the worker's lease
    worker: str = ""
    claimed_at: float = 0.0
    crashes: int = 0
    retries: int = 0
    retry_at: float = 0.0
    done: int = 0  # images
    sent: float = 0.0  # time at which the message of the shard was sent, or will be sent again


@dataclass(frozen=True)
class JobStatus:
    """The part of a job that transitions read and change, without its specification and its shards."""

    id: str
    num_shards: int
    num_shards_left: int  # shards that are not done
    dedupe_key: str
    created: float
    state: State = State.QUEUED
    started: float | None = None
    judging_token: int = 0  # the fencing token of its judging; 0: no judging has begun
    judging_sent: float = 0.0  # time at which the message for its judging was sent, or will be sent again
    may_be_archived: bool = False  # whether some of its results may be archived: its analyses cannot be canceled
    failure: Failure | None = None
    owner: str = ""  # owner of the analysis that created the job

    def __post_init__(self) -> None:
        if not 0 <= self.num_shards <= MAX_SHARDS:
            raise ValueError(f"expected at most {MAX_SHARDS} shards, got {self.num_shards}")

    @property
    def can_be_joined(self) -> bool:
        """Whether another analysis can join the job. An analysis that joins during judging would not be archived."""
        return not self.state.is_final and not self.judging_token


@dataclass(frozen=True, kw_only=True)
class Job(JobStatus):
    """One computation; several analyses can wait for it."""

    spec: JobSpec
    shards: tuple[Shard, ...]
    analyses: frozenset[str] = frozenset()

    @property
    def done(self) -> int:
        """The number of predicted images."""
        return sum(shard.done for shard in self.shards)

    @property
    def trace_attributes(self) -> dict[str, str | int | float]:
        """The attributes of the job's spans. They name only the earliest of the analyses that wait for the job."""
        names = {"errata.analysis": min(self.analyses, default=""), "errata.job": self.id}
        return {**names, "errata.dataset": self.spec.dataset, "errata.model": self.spec.model}

    def images_per_second(self, now: float) -> float | None:
        """Return the current rate of all workers of the job; None before the first batch."""
        running = [shard for shard in self.shards if shard.state is State.RUNNING and shard.done and shard.lease > now]
        rates = [shard.done / (now - shard.claimed_at) for shard in running if now > shard.claimed_at]
        return sum(rates) or None


@dataclass(frozen=True)
class AnalysisRecord:
    """One accepted request. The store has the record until the analysis is archived or deleted."""

    id: str
    request: AnalysisRequest
    request_digest: str
    evidence: str
    created: float
    owner: str = ""
    delivery: str = ""  # key of the registry's delivery; empty if there is none
    job: str = ""
    state: State = State.QUEUED
    failure: Failure | None = None
    ended: float | None = None
    trace: str = ""  # context of the trace of its request; empty: not traced

    @property
    def needs_write_back(self) -> bool:
        """Whether the result is written back to a registry."""
        return self.owner.startswith(REGISTRY_OWNER)


@dataclass(frozen=True)
class RecordStatus:
    """The part of a record that transitions read and change."""

    id: str
    state: State
    job: str
    request_id: str = ""
    failure: Failure | None = None
    ended: float | None = None


@dataclass(frozen=True)
class OutboxItem:
    """An analysis whose result must be written back to a registry."""

    analysis: str  # id
    attempts: int  # failed attempts
    job: str = ""  # the job that the analysis had when the item was read; empty if it had none: a retry changes it


@dataclass(frozen=True)
class WorkerOffer:
    """The models and data sets that a worker offers."""

    models: tuple[tuple[str, str], ...]  # identifiers or patterns such as timm:*, each with a description
    datasets: tuple[str, ...]  # data sets whose images the worker can read
    runtime: str = ""  # versions of the packages that determine the weights of a model name

    def has_model(self, model: str) -> bool:
        """Return whether the worker offers a model. If it only matches a pattern, the worker checks it later."""
        return bool({model, f"{model.partition(':')[0]}:*"} & {name for name, _ in self.models})

    def can_run(self, spec: JobSpec) -> bool:
        """Return whether the worker offers the model and the data set of a job."""
        return spec.dataset in self.datasets and self.has_model(spec.model)


class ClaimOutcome(Enum):
    """The outcome of a claim."""

    CLAIMED = "claimed"
    SKIP = "skip"  # the shard or its job has ended: acknowledge the message
    WAIT = "wait"  # the worker cannot run the shard, or not yet: deliver the message later
    JOB_FAILED = "job failed"  # the shard crashed too many workers


@dataclass(frozen=True)
class Claim:
    """The reply to a claim."""

    kind: ClaimOutcome
    fencing_token: int = 0
    delay: float = 0.0  # seconds, for WAIT
    waiting_since: float = 0.0  # end of a dead worker's lease; else `sent` of the shard, or the creation of its job


@dataclass(frozen=True)
class Step(Generic[Reply]):
    """The result of a transition."""

    reply: Reply
    job: JobStatus
    shard: Shard
    counter: str = ""  # counter of the store to increment; empty: none
    result: ShardResult | None = None  # the predictions to store


def claim(job: JobStatus, shard: Shard, now: float, worker: str, lease: float, *, can_run: bool = True) -> Step[Claim]:
    """Claim a shard for a lease of `lease` seconds, or postpone its message if the worker cannot run it."""
    if job.state.is_final or shard.state.is_final:
        return Step(Claim(ClaimOutcome.SKIP), job, shard)
    if (delay := available_at(shard) - now) > 0:
        return Step(Claim(ClaimOutcome.WAIT, delay=delay), job, shard)
    if not can_run:
        reply = Claim(ClaimOutcome.WAIT, delay=INCAPABLE_SECONDS)
        return Step(reply, job, replace(shard, sent=now + INCAPABLE_SECONDS))
    has_crashed = shard.state is State.RUNNING
    crashes = shard.crashes + has_crashed
    counter = CRASHES if has_crashed else ""
    if crashes >= MAX_CRASHES:
        message = f"A shard crashed its worker {crashes} times. The model may need more memory than a worker has."
        return Step(Claim(ClaimOutcome.JOB_FAILED), _fail(job, Failure("WORKER_LOST", message)), shard, counter)
    claimed = replace(
        shard,
        state=State.RUNNING,
        fencing_token=shard.fencing_token + 1,
        lease=now + lease,
        worker=worker,
        claimed_at=now,
        crashes=crashes,
        done=0,
    )
    job = replace(job, state=State.RUNNING, started=job.started or now)
    waiting_since = shard.lease if has_crashed else shard.sent or job.created
    reply = Claim(ClaimOutcome.CLAIMED, claimed.fencing_token, waiting_since=waiting_since)
    return Step(reply, job, claimed, counter)


def keep_message(job: JobStatus, shard: Shard, now: float) -> Step[Claim]:
    """Postpone the message of an ended shard for this available shard, which the worker cannot run.

    The shard's own message may have been acknowledged for the other shard. If a message was postponed for this shard
    recently, the reply is SKIP, so that not all messages of ended shards wait for it.
    """
    if shard.sent - now > INCAPABLE_SECONDS / 2:
        return Step(Claim(ClaimOutcome.SKIP), job, shard)
    return claim(job, shard, now, "", 0.0, can_run=False)


def available_at(shard: Shard) -> float:
    """Return the time from which an open shard can be claimed.

    A shard that has crashed a worker before waits for a while after its lease. Otherwise, the analysis would fail when
    workers stop one after the other, as the nodes of a cluster do during an upgrade.
    """
    if shard.state is State.QUEUED:
        return shard.retry_at
    return shard.lease + (CRASH_DELAYS[shard.crashes] if shard.crashes + 1 < MAX_CRASHES else 0.0)


def is_available(job: JobStatus, shard: Shard, now: float) -> bool:
    """Return whether a shard can be claimed now."""
    return not (job.state.is_final or shard.state.is_final) and available_at(shard) <= now


def holds_lease(job: JobStatus, shard: Shard, fencing_token: int) -> bool:
    """Return whether a fencing token is the current one of a running shard, so that its worker may write."""
    return not job.state.is_final and shard.state is State.RUNNING and shard.fencing_token == fencing_token


def renew(job: JobStatus, shard: Shard, now: float, fencing_token: int, lease: float) -> Step[bool]:
    """Renew the lease of a shard for `lease` seconds from now; reply whether the worker still has it."""
    if not holds_lease(job, shard, fencing_token):
        return Step(False, job, shard)
    return Step(True, job, replace(shard, lease=now + lease))


def progress(job: JobStatus, shard: Shard, now: float, fencing_token: int, done: int) -> Step[bool]:
    """Set the number of predicted images of a shard; reply whether the worker still has the lease."""
    if not holds_lease(job, shard, fencing_token):
        return Step(False, job, shard, _refused(job))
    return Step(True, job, replace(shard, done=done))


def finish(job: JobStatus, shard: Shard, now: float, fencing_token: int, result: ShardResult) -> Step[int | None]:
    """Finish a shard; reply with the number of shards that are left."""
    if not holds_lease(job, shard, fencing_token):
        is_repeated = shard.state is State.SUCCEEDED and shard.fencing_token == fencing_token  # after a lost reply
        if is_repeated and not job.state.is_final:
            return Step(job.num_shards_left, job, shard)
        return Step(None, job, shard, _refused(job))
    left = job.num_shards_left - 1
    job = replace(job, num_shards_left=left, judging_sent=job.judging_sent if left else now)
    return Step(left, job, replace(shard, state=State.SUCCEEDED, done=len(result.predictions.top1)), result=result)


def release(job: JobStatus, shard: Shard, now: float, fencing_token: int) -> Step[bool]:
    """Queue a shard again without counting a retry."""
    if not holds_lease(job, shard, fencing_token):
        return Step(False, job, shard)
    return Step(True, job, replace(shard, state=State.QUEUED, done=0, sent=now))


def retry(job: JobStatus, shard: Shard, now: float, fencing_token: int, failure: Failure) -> Step[float | None]:
    """After a transient error, queue a shard again, with a delay that doubles; after too many errors, fail its job.

    The reply is the delay: NO_RETRY if the job has failed now, None if the fencing token is not current.
    """
    if not holds_lease(job, shard, fencing_token):
        return Step(None, job, shard)
    if shard.retries >= MAX_RETRIES:
        return Step(NO_RETRY, _fail(job, failure), shard)
    delay = min(FIRST_RETRY_SECONDS * 2**shard.retries, LAST_RETRY_SECONDS)
    due = now + delay
    queued = replace(shard, state=State.QUEUED, retries=shard.retries + 1, retry_at=due, done=0, sent=due)
    return Step(delay, job, queued)


def fail(job: JobStatus, shard: Shard, now: float, fencing_token: int, failure: Failure) -> Step[bool]:
    """End a job as failed."""
    if not holds_lease(job, shard, fencing_token):
        return Step(False, job, shard)
    return Step(True, _fail(job, failure), shard)


def is_lost(shard: Shard, now: float, heartbeat: float) -> bool:
    """Return whether a shard can be claimed for so long that its message is lost.

    The caller has checked that the queue is empty: until then, any message can make a worker take the shard. The
    engine redelivers the messages of dead workers within a heartbeat. Other messages were never sent, were sent to a
    worker that did not receive them, or were deleted.
    """
    timeout = heartbeat / 3 if shard.state is State.QUEUED else heartbeat * 4 / 3
    return not shard.state.is_final and now - max(available_at(shard), shard.sent) > timeout


def mark_lost(job: JobStatus, shard: Shard, now: float, heartbeat: float) -> Step[bool]:
    """Reply whether the message of a shard is lost; if so, note that it is sent again now."""
    if job.state.is_final or not is_lost(shard, now, heartbeat):
        return Step(False, job, shard)
    return Step(True, job, replace(shard, sent=now))


def claim_judging(job: JobStatus, now: float) -> JobStatus | None:
    """Return a job with a new fencing token for its judging; None if the job has ended or has shards left."""
    if job.state.is_final or job.num_shards_left:
        return None
    return replace(job, judging_token=job.judging_token + 1, judging_sent=now)


def postpone_judging(job: JobStatus, now: float, delay: float) -> JobStatus | None:
    """Note that the message for the judging of a job is sent again after a delay; None if the job has ended."""
    return None if job.state.is_final else replace(job, judging_sent=now + delay)


def judging_delay(attempts: int) -> float:
    """Return the delay in seconds before a job is judged again after a number of failed attempts."""
    return min(FIRST_RETRY_SECONDS * attempts, LAST_RETRY_SECONDS)


def mark_judging_lost(job: JobStatus, now: float, heartbeat: float) -> JobStatus | None:
    """Note that the message for the judging of a job is sent again now; None if the message is not lost.

    The caller has checked that the queue is empty. A judge that waits for the archive sends its own message again,
    after a delay that grows with each attempt.
    """
    timeout = heartbeat / 3 if not job.judging_token else judging_delay(job.judging_token) + heartbeat * 2 / 3
    if job.state.is_final or job.num_shards_left or now - job.judging_sent <= timeout:
        return None
    return replace(job, judging_sent=now)


def mark_archiving(job: JobStatus, now: float, fencing_token: int, seconds: float) -> JobStatus | None:
    """Prevent the cancellation of the analyses of a job. For a number of seconds, its message does not count as lost.

    Return None if the fencing token is not current. Without this mark, callers could see a result that is deleted
    afterwards, since its analysis was canceled. If the judge is killed, the mark stays.
    """
    is_current = not job.state.is_final and job.judging_token == fencing_token
    return replace(job, judging_sent=now + seconds, may_be_archived=True) if is_current else None


def end_archiving(job: JobStatus, now: float, fencing_token: int, may_be_archived: bool) -> JobStatus | None:
    """Set whether some results may be archived, after an attempt that failed. The message of the job can be lost.

    Return None if the fencing token is not current.
    """
    ended = mark_archiving(job, now, fencing_token, 0.0)
    return ended and replace(ended, may_be_archived=may_be_archived)


def finish_judging(job: JobStatus, now: float, fencing_token: int, failure: Failure | None = None) -> JobStatus | None:
    """Return a job in its final state, failed if `failure` is set; None if the fencing token is not current."""
    if job.state.is_final or job.judging_token != fencing_token:
        return None
    return _fail(job, failure) if failure else replace(job, state=State.SUCCEEDED)


def _refused(job: JobStatus) -> str:
    """Return the counter of a refused write; empty if the job has failed or was canceled."""
    return "" if job.state in (State.FAILED, State.CANCELLED) else REFUSED


def _fail(job: JobStatus, failure: Failure) -> JobStatus:
    return replace(job, state=State.FAILED, failure=failure)


def failure_of(error: BaseException) -> Failure:
    """Return the failure that users see for an error. It hides the messages of other libraries' errors."""
    if isinstance(error, ErrataError):
        return Failure(error.reason, public_message(error))
    message = f"The worker failed with an internal error ({type(error).__name__}). See the worker's log."
    return Failure("INTERNAL", message)

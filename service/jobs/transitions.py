"""Jobs, shards, and their state transitions. Pure functions: stores call them under a lock, or repeat them in a script.

queued -claim-> running -finish-> succeeded | failed | cancelled     (final)
running -> queued: transient error (retry_at, retries + 1) · release · claim after the lease has expired (crashes + 1)
queued -> cancelled: immediately; the message is skipped when it is delivered
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
from errata.errors import ErrataError

from service.domain import REGISTRY_OWNER, AnalysisRequest, Failure, ModelInfo, Predictions, State
from service.redact import public_message

MAX_FINISHED = 1000  # failed and canceled analyses in a store: each list reads all of them
MAX_CRASHES = 3
MAX_RETRIES = 3
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 5.0, 60.0


class LeaseReply(Enum):
    """The store's reply to a report of a worker."""

    OK = "ok"
    CANCEL = "cancel"  # the job was canceled
    LOST = "lost"  # another worker has the shard, or the job has ended


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
    runtime: str = ""  # package versions of the workers: the weights of a name can differ between versions of timm
    fresh: bool = False  # ignore cached and in-progress results
    call_id: str = ""  # request ID of the first request, for logs

    def shard_result_key(self, shard: int, info: ModelInfo) -> str:
        """Return the SHA-256 of a shard's inputs: architecture, weights, transform, and images."""
        start, stop = self.bounds(shard)
        return _digest([info.architecture, info.weights_sha256, info.transform, self.images, f"{start}:{stop}"])

    @property
    def computation(self) -> str:
        """The SHA-256 of the inputs of the predictions: the model and the images, without the evidence."""
        return _digest([self.model, self.runtime, self.dataset, self.images])

    @property
    def dedupe_key(self) -> str:
        """The SHA-256 of the inputs of the result. Jobs with the same key are computed once."""
        return _digest([self.model, self.runtime, self.dataset, self.images, self.evidence])

    @property
    def num_shards(self) -> int:
        """The number of shards."""
        return -(-self.total // self.shard_size)

    def bounds(self, shard: int) -> tuple[int, int]:
        """Return the index of a shard's first image and the index after its last."""
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


@dataclass(frozen=True)
class Job:
    """One computation; several analyses can wait for it."""

    id: str
    spec: JobSpec
    shards: tuple[Shard, ...]
    created: float
    state: State = State.QUEUED
    started: float | None = None
    judging_token: int = 0  # the fencing token of its judging; 0: not judged yet
    failure: Failure | None = None
    analyses: frozenset[str] = field(default_factory=frozenset)

    @property
    def done(self) -> int:
        """The number of predicted images."""
        return sum(shard.done for shard in self.shards)

    def images_per_second(self, now: float) -> float | None:
        """Return the current rate of all workers of the job; None before the first batch."""
        running = [shard for shard in self.shards if shard.state is State.RUNNING and shard.done and shard.lease > now]
        rates = [shard.done / (now - shard.claimed_at) for shard in running if now > shard.claimed_at]
        return sum(rates) or None

    @property
    def num_shards_left(self) -> int:
        """The number of shards that are not done."""
        return sum(shard.state is not State.SUCCEEDED for shard in self.shards)


@dataclass(frozen=True)
class AnalysisRecord:
    """One accepted request. The store has it until it is archived or deleted."""

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

    @property
    def needs_write_back(self) -> bool:
        """Whether its result is written back to a registry."""
        return self.owner.startswith(REGISTRY_OWNER)


@dataclass(frozen=True)
class OutboxItem:
    """An analysis whose result must be written back to a registry."""

    analysis: str  # id
    attempts: int  # failed attempts


class ClaimOutcome(Enum):
    """The outcome of a claim."""

    CLAIMED = "claimed"
    SKIP = "skip"  # the shard or its job has ended: acknowledge the message
    WAIT = "wait"  # another worker has a lease, or a retry is not due: deliver the message later
    LOST = "lost"  # the shard crashed too many workers: the job has failed


@dataclass(frozen=True)
class Claim:
    """The reply to a claim."""

    kind: ClaimOutcome
    fencing_token: int = 0
    delay: float = 0.0  # seconds, for WAIT


def claim(job: Job, index: int, now: float, lease: float, worker: str) -> tuple[Job, Claim]:
    """Claim a shard.

    Args:
        job: The job.
        index: The shard.
        now: Seconds of the store's clock.
        lease: Seconds.
        worker: The name of the worker.

    Returns:
        The job after the claim, and the reply.
    """
    shard = job.shards[index]
    if job.state.is_final or shard.state.is_final:
        return job, Claim(ClaimOutcome.SKIP)
    if shard.state is State.RUNNING and shard.lease > now:
        return job, Claim(ClaimOutcome.WAIT, delay=shard.lease - now)
    if shard.state is State.QUEUED and shard.retry_at > now:
        return job, Claim(ClaimOutcome.WAIT, delay=shard.retry_at - now)
    crashes = shard.crashes + (shard.state is State.RUNNING)
    if crashes >= MAX_CRASHES:
        message = f"Shard {index} crashed its worker {crashes} times. The model may need more memory than a worker has."
        return fail_job(job, Failure("WORKER_LOST", message)), Claim(ClaimOutcome.LOST)
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
    job = replace_shard(replace(job, state=State.RUNNING, started=job.started or now), index, claimed)
    return job, Claim(ClaimOutcome.CLAIMED, claimed.fencing_token)


def holds_lease(job: Job, index: int, fencing_token: int) -> bool:
    """Return whether a fencing token is the shard's current one, so that its worker may write."""
    shard = job.shards[index]
    return not job.state.is_final and shard.state is State.RUNNING and shard.fencing_token == fencing_token


def requeue_with_backoff(shard: Shard, now: float) -> Shard:
    """Return the shard after a transient error: queued, with a delay that doubles at each retry."""
    delay = min(FIRST_RETRY_SECONDS * 2**shard.retries, LAST_RETRY_SECONDS)
    return replace(shard, state=State.QUEUED, retries=shard.retries + 1, retry_at=now + delay, done=0)


def fail_job(job: Job, failure: Failure) -> Job:
    """Return the job as failed."""
    return replace(job, state=State.FAILED, failure=failure)


def replace_shard(job: Job, index: int, shard: Shard) -> Job:
    """Return the job with one shard replaced."""
    return replace(job, shards=(*job.shards[:index], shard, *job.shards[index + 1 :]))


def failure_of(error: BaseException) -> Failure:
    """Return the failure that users see for an error: errors of other libraries are hidden."""
    if isinstance(error, ErrataError):
        return Failure(error.reason, public_message(error))
    message = f"The worker failed with an internal error ({type(error).__name__}). See the worker's log."
    return Failure("INTERNAL", message)


def concatenate_predictions(pieces: Sequence[Predictions]) -> Predictions:
    """Concatenate predictions. The result has no probabilities if any piece has none."""
    probabilities = [piece.probability for piece in pieces if piece.probability is not None]
    return Predictions(
        top1=np.concatenate([piece.top1 for piece in pieces]),
        probability=np.concatenate(probabilities) if len(probabilities) == len(pieces) else None,
    )

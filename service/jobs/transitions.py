"""What a job and a shard are, and which moves are legal. Pure: stores call it under their lock or in their script.

queued -claim-> running -finish-> succeeded | failed | cancelled     (final: never left)
running -> queued: transient error (retry_at, retries + 1) · hand back · lease over at the next claim (crashes + 1)
queued -> cancelled: at once; its message is skipped when it comes
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

MAX_FINISHED = 1000  # failed and cancelled analyses that a store keeps: all of them are read for every list
CRASH_LIMIT = 3
RETRY_LIMIT = 3
RETRY_FIRST, RETRY_LAST = 5.0, 60.0  # seconds


class LeaseReply(Enum):
    """What the store answers to a worker that reports."""

    OK = "ok"
    CANCEL = "cancel"  # nobody waits for the job any more
    LOST = "lost"  # another worker has the shard, or the job has ended


@dataclass(frozen=True)
class ShardResult:
    """The predictions of one shard, and what the worker knows of the model."""

    predictions: Predictions  # of the shard's n images
    model_info: ModelInfo


@dataclass(frozen=True)
class JobSpec:
    """What is computed: one model on the images of one data set, judged with one bundle."""

    model: str
    dataset: str
    evidence: str  # digest
    images: str  # digest of the images' names, by which the store keeps them
    total: int
    shard_size: int
    runtime: str = ""  # of the workers: another version of timm may mean other weights by the same name
    fresh: bool = False  # neither reads nor joins what was computed before
    asked: str = ""  # the id of the call that asked first, for logs alone

    def part_key(self, shard: int, info: ModelInfo) -> str:
        """Return the SHA-256 of what makes a shard's predictions: architecture, weights, transform and images."""
        start, stop = self.bounds(shard)
        return _digest([info.architecture, info.weights_sha256, info.transform, self.images, f"{start}:{stop}"])

    @property
    def computation(self) -> str:
        """Return the SHA-256 of what is predicted, whatever judges it."""
        return _digest([self.model, self.runtime, self.dataset, self.images])

    @property
    def dedupe(self) -> str:
        """Return the SHA-256 of all of it but the shards: equal ones are computed once."""
        return _digest([self.model, self.runtime, self.dataset, self.images, self.evidence])

    @property
    def num_shards(self) -> int:
        """Return how many shards the images make."""
        return -(-self.total // self.shard_size)

    def bounds(self, shard: int) -> tuple[int, int]:
        """Return the first image of a shard and the one after its last."""
        return shard * self.shard_size, min((shard + 1) * self.shard_size, self.total)


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Shard:
    """The run of one shard."""

    state: State = State.QUEUED
    fencing_token: int = 0
    lease: float = 0.0  # when the worker's hold ends, seconds of the store's clock
    worker: str = ""
    began: float = 0.0  # when it was claimed, seconds of the store's clock
    crashes: int = 0
    retries: int = 0
    retry_at: float = 0.0
    done: int = 0


@dataclass(frozen=True)
class Job:
    """One computation; several analyses may wait for it."""

    id: str
    spec: JobSpec
    shards: tuple[Shard, ...]
    created: float
    state: State = State.QUEUED
    started: float | None = None
    judge_fence: int = 0
    failure: Failure | None = None
    analyses: frozenset[str] = field(default_factory=frozenset)

    @property
    def done(self) -> int:
        """Return how many images are predicted."""
        return sum(shard.done for shard in self.shards)

    def rate(self, now: float) -> float | None:
        """Return how many images a second the workers on it predict now; None before the first."""
        going = [shard for shard in self.shards if shard.state is State.RUNNING and shard.done and shard.lease > now]
        rates = [item.done / (now - item.began) for item in going if now > item.began]
        return sum(rates) or None

    @property
    def left(self) -> int:
        """Return how many shards aren't done."""
        return sum(shard.state is not State.SUCCEEDED for shard in self.shards)


@dataclass(frozen=True)
class AnalysisRecord:
    """One accepted request, as the store keeps it until it is archived or forgotten."""

    id: str
    request: AnalysisRequest
    request_digest: str
    evidence: str
    created: float
    owner: str = ""
    delivery: str = ""  # what a registry calls the delivery that asked; empty: none did
    job: str = ""
    state: State = State.QUEUED
    failure: Failure | None = None
    ended: float | None = None

    @property
    def owed(self) -> bool:
        """Say whether somebody is to be told of its result: the registry that asked."""
        return self.owner.startswith(REGISTRY_OWNER)


@dataclass(frozen=True)
class OutboxItem:
    """An analysis whose result a registry is to be told."""

    analysis: str  # id
    tries: int  # that failed so far


class ClaimKind(Enum):
    """What comes of an attempt to take a shard."""

    TAKEN = "taken"
    SKIP = "skip"  # it has ended: acknowledge and forget
    WAIT = "wait"  # a living worker has it, or it backs off: come back later
    LOST = "lost"  # it killed its workers too often: the job has failed


@dataclass(frozen=True)
class Claim:
    """The answer to a claim."""

    kind: ClaimKind
    fencing_token: int = 0
    delay: float = 0.0  # seconds, for WAIT


def claim(job: Job, index: int, now: float, lease: float, worker: str) -> tuple[Job, Claim]:
    """Return the job after an attempt to take a shard, and what came of it."""
    shard = job.shards[index]
    if job.state.is_final or shard.state.is_final:
        return job, Claim(ClaimKind.SKIP)
    if shard.state is State.RUNNING and shard.lease > now:
        return job, Claim(ClaimKind.WAIT, delay=shard.lease - now)
    if shard.state is State.QUEUED and shard.retry_at > now:
        return job, Claim(ClaimKind.WAIT, delay=shard.retry_at - now)
    crashes = shard.crashes + (shard.state is State.RUNNING)
    if crashes >= CRASH_LIMIT:
        message = f"shard {index} ended its worker {crashes} times; the model may need more memory than a worker has"
        return failed(job, Failure("WORKER_LOST", message)), Claim(ClaimKind.LOST)
    taken = replace(
        shard,
        state=State.RUNNING,
        fencing_token=shard.fencing_token + 1,
        lease=now + lease,
        worker=worker,
        began=now,
        crashes=crashes,
        done=0,
    )
    job = with_shard(replace(job, state=State.RUNNING, started=job.started or now), index, taken)
    return job, Claim(ClaimKind.TAKEN, taken.fencing_token)


def holds(job: Job, index: int, fencing_token: int) -> bool:
    """Say whether this fence is the shard's current one, so that its worker may write."""
    shard = job.shards[index]
    return not job.state.is_final and shard.state is State.RUNNING and shard.fencing_token == fencing_token


def backed_off(shard: Shard, now: float) -> Shard:
    """Return the shard after a transient error: queued again, later each time."""
    delay = min(RETRY_FIRST * 2**shard.retries, RETRY_LAST)
    return replace(shard, state=State.QUEUED, retries=shard.retries + 1, retry_at=now + delay, done=0)


def failed(job: Job, failure: Failure) -> Job:
    """Return the job, failed for good."""
    return replace(job, state=State.FAILED, failure=failure)


def with_shard(job: Job, index: int, shard: Shard) -> Job:
    """Return the job with one shard replaced."""
    return replace(job, shards=(*job.shards[:index], shard, *job.shards[index + 1 :]))


def failure_of(error: BaseException) -> Failure:
    """Return what a user is told of an error."""
    if isinstance(error, ErrataError):
        return Failure(error.reason, public_message(error))
    return Failure("INTERNAL", f"the worker met an error of its own: {type(error).__name__}; its log has the rest")


def joined(pieces: Sequence[Predictions]) -> Predictions:
    """Return the predictions of consecutive pieces as one; without probabilities if any piece has none."""
    probabilities = [piece.probability for piece in pieces if piece.probability is not None]
    return Predictions(
        top1=np.concatenate([piece.top1 for piece in pieces]),
        probability=np.concatenate(probabilities) if len(probabilities) == len(pieces) else None,
    )

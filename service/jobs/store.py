"""What a job store does, whatever is behind it. Every method is one atomic step."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from service.domain import Failure
from service.jobs.transitions import AnalysisRecord, Claim, Job, JobSpec, LeaseReply, OutboxItem, ShardResult


class Outcome(Enum):
    """What came of a submission."""

    NEW = "new"  # a job of its own: send its shards
    JOINED = "joined"  # it waits for a job that is open already
    REPEATED = "repeated"  # the request id came before, with the same body
    REUSED = "reused"  # the request id came before, with another body
    FULL = "full"  # too many are open


@dataclass(frozen=True)
class Submission:
    """The answer to a submission."""

    outcome: Outcome
    analysis: str = ""
    job: str = ""
    open: int = 0


@dataclass(frozen=True)
class Snapshot:
    """An entry, its job, and where it stands in the queue."""

    record: AnalysisRecord
    job: Job | None
    queue_position: int  # open jobs created before
    live_workers: int
    now: float


@dataclass(frozen=True)
class WorkerOffer:
    """What a worker says that it can do."""

    models: tuple[tuple[str, str], ...]  # identifiers or patterns such as timm:*, each with a description
    datasets: tuple[str, ...]  # whose images it can read
    runtime: str = ""  # versions of the packages that say which weights a model's name means


@dataclass(frozen=True)
class Depth:
    """How much there is to do, and what went wrong since the store began."""

    queued_analyses: int
    running_analyses: int
    queued_shards: int
    running_shards: int
    oldest_queued: float  # seconds; 0 without one
    oldest_running: float
    workers: int  # heard of lately
    refused: int  # reports and results of workers that came too late
    crashes: int  # shards that were taken from a worker that fell silent
    delayed: int = 0  # messages that come again later
    dead: int = 0  # messages that were given up


@dataclass(frozen=True)
class StoreMemory:
    """What the store takes."""

    used: int  # bytes
    most: int  # bytes that it may take; 0: no limit


class JobStore(Protocol):
    """Keeps open work, and for a while what ended without a result. Safe to use from several threads."""

    def submit(self, record: AnalysisRecord, spec: JobSpec, *, fresh: bool, limit: int) -> Submission:
        """Accept a request: repeat, join, refuse or make a job. A delivery that came before is REPEATED."""
        ...

    def resubmit(self, record: AnalysisRecord, spec: JobSpec, *, limit: int) -> Submission | None:
        """Queue an entry that has failed again, under its own id; None if it hasn't failed."""
        ...

    def reserve(
        self, request_id: str, request_digest: str, analysis_id: str, *, owed: bool = False, delivery: str = ""
    ) -> Submission:
        """Bind a request id to an analysis that needs no job: NEW, REPEATED or REUSED; a new one may be owed.

        A delivery that came before is REPEATED, whatever it asks for now, as in `submit`.
        """
        ...

    def release(self, request_id: str) -> None:
        """Give a reserved request id free, since its analysis came to nothing or is deleted."""
        ...

    def remember_images(self, digest: str, names: Sequence[str]) -> None:
        """Keep the names of a data set's images for workers."""
        ...

    def images(self, digest: str) -> Sequence[str]:
        """Return the names kept under a digest; raise Unavailable if there are none."""
        ...

    def snapshot(self, analysis_id: str) -> Snapshot | None:
        """Return an entry and its job, None if there is none."""
        ...

    def entries(self) -> Sequence[Snapshot]:
        """Return every entry."""
        ...

    def job(self, job_id: str) -> Job | None:
        """Return a job."""
        ...

    def cancel(self, analysis_id: str, reason: str) -> bool:
        """Cancel an entry; its job stops when it was the last. Say whether it was open."""
        ...

    def forget(self, analysis_id: str) -> bool:
        """Remove a final entry; say whether there was one."""
        ...

    def claim(self, job_id: str, shard: int, worker: str, lease: float) -> Claim:
        """Try to take a shard for `lease` seconds."""
        ...

    def renew_lease(self, job_id: str, shard: int, fencing_token: int, lease: float) -> LeaseReply:
        """Renew a hold."""
        ...

    def progress(self, job_id: str, shard: int, fencing_token: int, done: int) -> LeaseReply:
        """Write how many of the shard's images are predicted."""
        ...

    def finish_shard(self, job_id: str, shard: int, fencing_token: int, part: ShardResult) -> int | None:
        """Keep a shard's predictions; return how many shards are left, None if the fence is old."""
        ...

    def store_shard_result(self, key: str, part: ShardResult) -> None:
        """Keep a shard's predictions for whoever loads the same weights again; for a while, if there is room."""
        ...

    def cached_shard_result(self, key: str) -> ShardResult | None:
        """Return predictions that were kept."""
        ...

    def store_result(self, key: str, analysis_id: str) -> None:
        """Keep which archived analysis has the result of a computation judged with a bundle; for a while."""
        ...

    def result(self, key: str) -> str | None:
        """Return the analysis that was kept."""
        ...

    def owed(self, lease: float, most: int = 100) -> Sequence[OutboxItem]:
        """Take what has ended and is due to be told, `most` of it at most.

        Whoever doesn't settle it has it come again after `lease` seconds.

        What is submitted by a registry, or reserved so, is owed from that very step on.
        """
        ...

    def postpone(self, analysis_id: str, delay: float, *, failed: bool) -> None:
        """Let an owed analysis come again after `delay` seconds; count a try that failed."""
        ...

    def settle(self, analysis_id: str) -> None:
        """Note that an analysis isn't owed any more."""
        ...

    def release_shard(self, job_id: str, shard: int, fencing_token: int) -> bool:
        """Queue a shard again without counting anything; say whether the fence was current."""
        ...

    def retry(self, job_id: str, shard: int, fencing_token: int, failure: Failure) -> float | None:
        """Queue a shard again after a transient error: seconds to wait; None if it has failed for good or is lost."""
        ...

    def fail(self, job_id: str, shard: int, fencing_token: int, failure: Failure) -> bool:
        """End a job as failed; say whether the fence was current."""
        ...

    def parts(self, job_id: str) -> Sequence[ShardResult]:
        """Return the predictions of all shards, in order."""
        ...

    def claim_judging(self, job_id: str) -> int | None:
        """Take the judging of a job whose shards are all done: its fence; None if it has ended."""
        ...

    def finish(self, job_id: str, fencing_token: int, failure: Failure | None = None) -> bool:
        """End a judged job: succeeded, its entries forgotten since the archive has them; or failed."""
        ...

    def bind_archive(self, archive_id: str) -> str:
        """Bind the store to an archive, unless it is bound; return the id of the archive that it is bound to."""
        ...

    def worker_alive(self, worker: str, offer: WorkerOffer | None = None) -> None:
        """Note that a worker lives, and what it can do."""
        ...

    def worker_gone(self, worker: str) -> None:
        """Note that a worker has ended."""
        ...

    def offers(self) -> Sequence[WorkerOffer]:
        """Return what the live workers can do; without any, what the last one could."""
        ...

    def overdue(self, heartbeat: float) -> Sequence[tuple[str, int | None]]:
        """Return shards, and with None judgings, whose message seems to be lost; they count as sent now.

        `heartbeat`: seconds after which the engine takes a silent worker for dead.
        """
        ...

    def depth(self) -> Depth:
        """Return how much waits or runs, how many workers live, and what went wrong."""
        ...

    def memory(self) -> StoreMemory:
        """Return what the store takes."""
        ...

    def ping(self) -> bool:
        """Say whether the store answers."""
        ...

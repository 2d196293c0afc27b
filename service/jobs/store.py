"""The job store: a port with two implementations, Redis and memory. Every method is one atomic step."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from service.domain import Failure
from service.jobs.transitions import AnalysisRecord, Claim, Job, JobSpec, LeaseReply, OutboxItem, ShardResult


class Outcome(Enum):
    """The outcome of a submission."""

    NEW = "new"  # a new job: its shards must be sent
    JOINED = "joined"  # the analysis waits for a job that was open already
    REPEATED = "repeated"  # the same request ID, with the same body, was accepted before
    REUSED = "reused"  # the same request ID, with another body, was accepted before
    FULL = "full"  # too many analyses are open


@dataclass(frozen=True)
class Submission:
    """The reply to a submission."""

    outcome: Outcome
    analysis: str = ""  # id
    job: str = ""  # id
    open: int = 0  # open analyses


@dataclass(frozen=True)
class Snapshot:
    """A record with its job and its position in the queue."""

    record: AnalysisRecord
    job: Job | None
    queue_position: int  # open jobs created before
    live_workers: int
    now: float  # seconds of the store's clock


@dataclass(frozen=True)
class WorkerOffer:
    """The models and data sets that a worker offers."""

    models: tuple[tuple[str, str], ...]  # identifiers or patterns such as timm:*, each with a description
    datasets: tuple[str, ...]  # data sets whose images the worker can read
    runtime: str = ""  # versions of the packages that determine the weights of a model name


@dataclass(frozen=True)
class Depth:
    """Numbers of queued and running analyses and shards, and counters since the store was created."""

    queued_analyses: int
    running_analyses: int
    queued_shards: int
    running_shards: int
    oldest_queued: float  # seconds; 0 if nothing is queued
    oldest_running: float  # seconds; 0 if nothing runs
    workers: int  # number with a recent heartbeat
    refused: int  # writes of workers whose lease was lost
    crashes: int  # shards whose lease expired
    delayed: int = 0  # messages that are delivered later
    dead: int = 0  # messages that the engine dropped


@dataclass(frozen=True)
class MemoryUsage:
    """The memory that the store uses."""

    used: int  # bytes
    limit: int  # bytes; 0: no limit


class JobStore(Protocol):
    """Stores open analyses, and for a limited time those that failed or were canceled. Thread-safe."""

    def submit(self, record: AnalysisRecord, spec: JobSpec, *, fresh: bool, limit: int) -> Submission:
        """Submit an analysis: create a job, join an open one, or return the analysis of an earlier request.

        Args:
            record: The analysis.
            spec: The computation that it needs.
            fresh: Create a job even if an open one computes the same.
            limit: Maximum number of open analyses.

        Returns:
            REPEATED for a delivery that was submitted before, even if its request differs now.
        """
        ...

    def resubmit(self, record: AnalysisRecord, spec: JobSpec, *, limit: int) -> Submission | None:
        """Queue a failed analysis again under the same id; return None unless it has failed."""
        ...

    def reserve(
        self,
        request_id: str,
        request_digest: str,
        analysis_id: str,
        *,
        needs_write_back: bool = False,
        delivery: str = "",
    ) -> Submission:
        """Bind a request ID to an analysis that needs no job.

        Args:
            request_id: Empty: bind nothing.
            request_digest: Digest of the request's body.
            analysis_id: The id of the analysis if the request is new.
            needs_write_back: Add a new analysis to the outbox.
            delivery: Key of a registry's delivery; empty if there is none.

        Returns:
            NEW, REPEATED or REUSED; REPEATED for a delivery that was submitted before, even if its request differs now.
        """
        ...

    def release_request_id(self, request_id: str) -> None:
        """Release a reserved request ID, because its analysis was not archived or is deleted."""
        ...

    def store_image_names(self, digest: str, names: Sequence[str]) -> None:
        """Store the names of a data set's images for workers."""
        ...

    def image_names(self, digest: str) -> Sequence[str]:
        """Return the image names stored under a digest; raise Unavailable if there are none."""
        ...

    def snapshot(self, analysis_id: str) -> Snapshot | None:
        """Return a record with its job; None if it does not exist."""
        ...

    def records(self) -> Sequence[Snapshot]:
        """Return all records with their jobs."""
        ...

    def job(self, job_id: str) -> Job | None:
        """Return a job; None if it does not exist."""
        ...

    def cancel(self, analysis_id: str, reason: str) -> bool:
        """Cancel an analysis, and its job if no other analysis waits for it; return whether it was open."""
        ...

    def delete(self, analysis_id: str) -> bool:
        """Delete a final record; return whether it existed."""
        ...

    def claim_shard(self, job_id: str, shard: int, worker: str, lease: float) -> Claim:
        """Claim a shard for a lease of `lease` seconds."""
        ...

    def renew_lease(self, job_id: str, shard: int, fencing_token: int, lease: float) -> LeaseReply:
        """Renew the lease of a shard for `lease` seconds from now."""
        ...

    def report_progress(self, job_id: str, shard: int, fencing_token: int, done: int) -> LeaseReply:
        """Store the number of predicted images of a shard."""
        ...

    def finish_shard(self, job_id: str, shard: int, fencing_token: int, result: ShardResult) -> int | None:
        """Store a shard's predictions; return how many shards are left, None if the fencing token is not current."""
        ...

    def store_shard_result(self, key: str, result: ShardResult) -> None:
        """Cache a shard's predictions for later requests of the same weights, for a limited time."""
        ...

    def cached_shard_result(self, key: str) -> ShardResult | None:
        """Return cached predictions of a shard; None if there are none."""
        ...

    def store_result(self, key: str, analysis_id: str) -> None:
        """Cache the id of the archived analysis that has the result of a computation, for a limited time."""
        ...

    def cached_result(self, key: str) -> str | None:
        """Return the id of the archived analysis that has the result of a computation; None if none is cached."""
        ...

    def due_outbox_items(self, lease: float, limit: int = 100) -> Sequence[OutboxItem]:
        """Lease due outbox items whose analyses have ended.

        An analysis that a registry requested enters the outbox in the step that accepts it. An item that is not
        deleted is due again when its lease ends.

        Args:
            lease: Seconds.
            limit: Maximum number of items.
        """
        ...

    def postpone_outbox_item(self, analysis_id: str, delay: float, *, failed: bool) -> None:
        """Postpone an outbox item by `delay` seconds; count a failed attempt if `failed`."""
        ...

    def delete_outbox_item(self, analysis_id: str) -> None:
        """Delete an outbox item."""
        ...

    def release_shard(self, job_id: str, shard: int, fencing_token: int) -> bool:
        """Queue a shard again without counting a retry; return whether the fencing token was current."""
        ...

    def retry_shard(self, job_id: str, shard: int, fencing_token: int, failure: Failure) -> float | None:
        """Queue a shard again after a transient error; fail its job after too many errors.

        Returns:
            Seconds until the retry; None if the job has failed or the fencing token is not current.
        """
        ...

    def fail_job(self, job_id: str, shard: int, fencing_token: int, failure: Failure) -> bool:
        """End a job as failed; return whether the fencing token was current."""
        ...

    def shard_results(self, job_id: str) -> Sequence[ShardResult]:
        """Return the predictions of all finished shards, in order."""
        ...

    def claim_judging(self, job_id: str) -> int | None:
        """Claim the judging of a job whose shards are all done; return its fencing token, None if the job has ended."""
        ...

    def finish_job(self, job_id: str, fencing_token: int, failure: Failure | None = None) -> bool:
        """End a judged job, as failed if there is a failure; return whether the fencing token was current.

        The records of a job that succeeds are deleted, because the archive has its analyses.
        """
        ...

    def bind_archive(self, archive_id: str) -> str:
        """Bind the store to an archive unless it is bound; return the id of the archive that it is bound to."""
        ...

    def heartbeat(self, worker: str, offer: WorkerOffer | None = None) -> None:
        """Store the heartbeat and the offer of a worker."""
        ...

    def remove_worker(self, worker: str) -> None:
        """Remove a worker that has stopped."""
        ...

    def offers(self) -> Sequence[WorkerOffer]:
        """Return the offers of the live workers; if there are none, the latest offer."""
        ...

    def lost_messages(self, heartbeat_timeout: float) -> Sequence[tuple[str, int | None]]:
        """Return the jobs and shards whose message seems to be lost, and mark them as sent now.

        Args:
            heartbeat_timeout: Seconds without a heartbeat after which the engine considers a worker dead.

        Returns:
            Job and shard; None instead of a shard for the judging of the job.
        """
        ...

    def depth(self) -> Depth:
        """Return the depth of the queues and the counters of the store."""
        ...

    def memory_usage(self) -> MemoryUsage:
        """Return the memory that the store uses."""
        ...

    def ping(self) -> bool:
        """Return whether the store answers."""
        ...

"""The in-memory job store, for `--local` and for tests."""

import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

from errata.errors import Unavailable

from service.domain import Failure, State
from service.jobs import transitions
from service.jobs.store import Depth, MemoryUsage, Outcome, Snapshot, Submission, WorkerOffer
from service.jobs.transitions import (
    AnalysisRecord,
    Claim,
    ClaimOutcome,
    Job,
    JobSpec,
    LeaseReply,
    OutboxItem,
    Shard,
    ShardResult,
)

WORKER_TIMEOUT = 30.0  # seconds without a heartbeat after which a worker is considered stopped
MAX_CACHED_SHARDS = 64  # shards whose predictions are cached
DELIVERY_TTL = 48 * 3600.0  # seconds
FINISHED_TTL = 7 * 86_400.0  # seconds, of failed and canceled analyses and of request IDs


class InMemoryJobStore:
    """A job store in dictionaries, under one lock.

    Args:
        clock: Returns seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._records: dict[str, AnalysisRecord] = {}
        self._jobs: dict[str, Job] = {}
        self._shard_results: dict[str, dict[int, ShardResult]] = {}
        self._dedupe: dict[str, str] = {}
        self._requests: dict[str, tuple[str, str, float]] = {}
        self._images: dict[str, tuple[str, ...]] = {}
        self._workers: dict[str, float] = {}
        self._offers: dict[str, WorkerOffer] = {}
        self._last_offer: WorkerOffer | None = None
        self._prediction_cache: dict[str, ShardResult] = {}
        self._results: dict[str, str] = {}
        self._deliveries: dict[str, tuple[str, float]] = {}  # analysis, time of the delivery
        self._outbox: dict[str, tuple[float, int]] = {}  # due time, failed attempts
        self._archive_id = ""
        self._refused = 0
        self._crashes = 0

    def submit(self, record: AnalysisRecord, spec: JobSpec, *, fresh: bool, limit: int) -> Submission:
        """Submit an analysis."""
        with self._lock:
            self._delete_expired()
            if before := self._find_delivery(record.delivery) or self._find_request(
                record.request.request_id, record.request_digest
            ):
                return before
            submission = self._accept(record, spec, fresh=fresh, limit=limit)
            if submission.outcome is not Outcome.FULL and record.request.request_id:
                self._requests[record.request.request_id] = (record.request_digest, record.id, self._clock())
            if submission.outcome is not Outcome.FULL and record.delivery:
                self._deliveries[record.delivery] = (record.id, self._clock())
            return submission

    def resubmit(self, record: AnalysisRecord, spec: JobSpec, *, limit: int) -> Submission | None:
        """Queue a failed analysis again under the same id."""
        with self._lock:
            before = self._records.get(record.id)
            if before is None or before.state is not State.FAILED:
                return None
            return self._accept(record, spec, fresh=spec.fresh, limit=limit)

    def _accept(self, record: AnalysisRecord, spec: JobSpec, *, fresh: bool, limit: int) -> Submission:
        num_open = sum(not record.state.is_final for record in self._records.values())
        if num_open >= limit:
            return Submission(Outcome.FULL, open=num_open)
        job = None if fresh else self._jobs.get(self._dedupe.get(spec.dedupe_key, ""))
        outcome = Outcome.JOINED
        # An analysis that joins after judging began would not be archived.
        if job is None or job.state.is_final or job.judging_token:
            outcome = Outcome.NEW
            shards = tuple(Shard() for _ in range(spec.num_shards))
            job = Job(uuid.uuid4().hex, spec, shards, created=self._clock())
            if not fresh:
                self._dedupe[spec.dedupe_key] = job.id
        self._jobs[job.id] = replace(job, analyses=job.analyses | {record.id})
        self._records[record.id] = replace(record, job=job.id, state=job.state)
        if record.needs_write_back:
            self._outbox[record.id] = (self._clock(), 0)
        return Submission(outcome, record.id, job.id, num_open + 1)

    def reserve(
        self,
        request_id: str,
        request_digest: str,
        analysis_id: str,
        *,
        needs_write_back: bool = False,
        delivery: str = "",
    ) -> Submission:
        """Bind a request ID to an analysis that needs no job."""
        with self._lock:
            self._delete_expired()
            if before := self._find_delivery(delivery) or self._find_request(request_id, request_digest):
                return before
            if request_id:
                self._requests[request_id] = (request_digest, analysis_id, self._clock())
            if delivery:
                self._deliveries[delivery] = (analysis_id, self._clock())
            if needs_write_back:
                self._outbox[analysis_id] = (self._clock(), 0)
            return Submission(Outcome.NEW, analysis_id)

    def release_request_id(self, request_id: str) -> None:
        """Release a reserved request ID."""
        with self._lock:
            self._requests.pop(request_id, None)

    def store_image_names(self, digest: str, names: Sequence[str]) -> None:
        """Store the names of a data set's images."""
        with self._lock:
            self._images.setdefault(digest, tuple(names))

    def image_names(self, digest: str) -> Sequence[str]:
        """Return the image names stored under a digest."""
        with self._lock:
            if digest not in self._images:
                raise Unavailable(f"The job store has no image names with digest {digest[:12]}.")
            return self._images[digest]

    def snapshot(self, analysis_id: str) -> Snapshot | None:
        """Return a record with its job."""
        with self._lock:
            record = self._records.get(analysis_id)
            return self._snapshot(record) if record else None

    def records(self) -> Sequence[Snapshot]:
        """Return all records with their jobs."""
        with self._lock:
            return [self._snapshot(record) for record in self._records.values()]

    def job(self, job_id: str) -> Job | None:
        """Return a job."""
        with self._lock:
            return self._jobs.get(job_id)

    def cancel(self, analysis_id: str, reason: str) -> bool:
        """Cancel an analysis."""
        with self._lock:
            record = self._records.get(analysis_id)
            if record is None or record.state.is_final:
                return False
            failure = Failure("CANCELLED", reason)
            self._records[record.id] = replace(record, state=State.CANCELLED, failure=failure, ended=self._clock())
            job = self._jobs[record.job]
            waiting = job.analyses - {record.id}
            job = replace(job, analyses=waiting, state=job.state if waiting else State.CANCELLED)
            self._jobs[job.id] = job
            if not waiting:
                self._close_job(job)
            self._delete_excess()
            return True

    def delete(self, analysis_id: str) -> bool:
        """Delete a final record."""
        with self._lock:
            record = self._records.get(analysis_id)
            if record is None or not record.state.is_final:
                return False
            del self._records[analysis_id]
            return True

    def claim_shard(self, job_id: str, shard: int, worker: str, lease: float) -> Claim:
        """Claim a shard."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None:
                return Claim(ClaimOutcome.SKIP)
            after, claim = transitions.claim(job, shard, self._clock(), lease, worker)
            is_claimed = claim.kind in (ClaimOutcome.CLAIMED, ClaimOutcome.LOST)
            self._crashes += is_claimed and job.shards[shard].state is State.RUNNING
            if after is not job:
                self._write_job(after)
            return claim

    def renew_lease(self, job_id: str, shard: int, fencing_token: int, lease: float) -> LeaseReply:
        """Renew the lease of a shard."""
        return self._report(job_id, shard, fencing_token, lambda shard: replace(shard, lease=self._clock() + lease))

    def report_progress(self, job_id: str, shard: int, fencing_token: int, done: int) -> LeaseReply:
        """Store the number of predicted images of a shard."""
        return self._report(job_id, shard, fencing_token, lambda shard: replace(shard, done=done))

    def finish_shard(self, job_id: str, shard: int, fencing_token: int, result: ShardResult) -> int | None:
        """Store a shard's predictions."""
        with self._lock:
            job = self._leased_job(job_id, shard, fencing_token)
            if job is None:
                self._count_refused(job_id)
                return None
            self._shard_results.setdefault(job_id, {})[shard] = result
            finished = replace(job.shards[shard], state=State.SUCCEEDED, done=len(result.predictions.top1))
            job = transitions.replace_shard(job, shard, finished)
            self._write_job(job)
            return job.num_shards_left

    def store_shard_result(self, key: str, result: ShardResult) -> None:
        """Cache a shard's predictions; the oldest ones are dropped beyond MAX_CACHED_SHARDS."""
        with self._lock:
            self._prediction_cache[key] = result
            while len(self._prediction_cache) > MAX_CACHED_SHARDS:
                del self._prediction_cache[next(iter(self._prediction_cache))]

    def cached_shard_result(self, key: str) -> ShardResult | None:
        """Return cached predictions of a shard."""
        with self._lock:
            return self._prediction_cache.get(key)

    def store_result(self, key: str, analysis_id: str) -> None:
        """Cache the id of the archived analysis that has a result."""
        with self._lock:
            self._results[key] = analysis_id

    def cached_result(self, key: str) -> str | None:
        """Return the id of the archived analysis that has a result."""
        with self._lock:
            return self._results.get(key)

    def due_outbox_items(self, lease: float, limit: int = 100) -> Sequence[OutboxItem]:
        """Lease due outbox items whose analyses have ended."""
        with self._lock:
            now = self._clock()
            items = [
                OutboxItem(analysis_id, attempts)
                for analysis_id, (due, attempts) in self._outbox.items()
                if due <= now and not self._is_open(analysis_id)
            ][:limit]
            self._outbox |= {item.analysis: (now + lease, item.attempts) for item in items}
            return items

    def postpone_outbox_item(self, analysis_id: str, delay: float, *, failed: bool) -> None:
        """Postpone an outbox item."""
        with self._lock:
            if analysis_id in self._outbox:
                self._outbox[analysis_id] = (self._clock() + delay, self._outbox[analysis_id][1] + failed)

    def delete_outbox_item(self, analysis_id: str) -> None:
        """Delete an outbox item."""
        with self._lock:
            self._outbox.pop(analysis_id, None)

    def release_shard(self, job_id: str, shard: int, fencing_token: int) -> bool:
        """Queue a shard again without counting a retry."""
        with self._lock:
            job = self._leased_job(job_id, shard, fencing_token)
            if job is None:
                return False
            self._write_job(
                transitions.replace_shard(job, shard, replace(job.shards[shard], state=State.QUEUED, done=0))
            )
            return True

    def retry_shard(self, job_id: str, shard: int, fencing_token: int, failure: Failure) -> float | None:
        """Queue a shard again after a transient error."""
        with self._lock:
            job = self._leased_job(job_id, shard, fencing_token)
            if job is None:
                return None
            if job.shards[shard].retries >= transitions.MAX_RETRIES:
                self._write_job(transitions.fail_job(job, failure))
                return None
            queued = transitions.requeue_with_backoff(job.shards[shard], self._clock())
            self._write_job(transitions.replace_shard(job, shard, queued))
            return queued.retry_at - self._clock()

    def fail_job(self, job_id: str, shard: int, fencing_token: int, failure: Failure) -> bool:
        """End a job as failed."""
        with self._lock:
            job = self._leased_job(job_id, shard, fencing_token)
            if job is None:
                return False
            self._write_job(transitions.fail_job(job, failure))
            return True

    def shard_results(self, job_id: str) -> Sequence[ShardResult]:
        """Return the predictions of all finished shards, in order."""
        with self._lock:
            results = self._shard_results.get(job_id, {})
            return [results[shard] for shard in sorted(results)]

    def claim_judging(self, job_id: str) -> int | None:
        """Claim the judging of a job."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or job.state.is_final or job.num_shards_left:
                return None
            self._jobs[job_id] = replace(job, judging_token=job.judging_token + 1)
            return job.judging_token + 1

    def finish_job(self, job_id: str, fencing_token: int, failure: Failure | None = None) -> bool:
        """End a judged job."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or job.state.is_final or job.judging_token != fencing_token:
                return False
            self._write_job(transitions.fail_job(job, failure) if failure else replace(job, state=State.SUCCEEDED))
            return True

    def bind_archive(self, archive_id: str) -> str:
        """Bind the store to an archive."""
        with self._lock:
            self._archive_id = self._archive_id or archive_id
            return self._archive_id

    def heartbeat(self, worker: str, offer: WorkerOffer | None = None) -> None:
        """Store the heartbeat and the offer of a worker."""
        with self._lock:
            self._workers[worker] = self._clock()
            if offer is not None:
                self._offers[worker] = self._last_offer = offer

    def remove_worker(self, worker: str) -> None:
        """Remove a worker that has stopped."""
        with self._lock:
            self._workers.pop(worker, None)
            self._offers.pop(worker, None)

    def offers(self) -> Sequence[WorkerOffer]:
        """Return the offers of the live workers; if there are none, the latest offer."""
        with self._lock:
            offers = [self._offers[worker] for worker in self._live_workers() if worker in self._offers]
            return offers or ([self._last_offer] if self._last_offer else [])

    def depth(self) -> Depth:
        """Return the depth of the queues and the counters of the store."""
        with self._lock:
            now = self._clock()
            ages: dict[State, list[float]] = {State.QUEUED: [0.0], State.RUNNING: [0.0]}
            for record in self._records.values():
                if not record.state.is_final:
                    ages[record.state].append(now - record.created)
            shards = [shard for job in self._jobs.values() if not job.state.is_final for shard in job.shards]
            return Depth(
                queued_analyses=len(ages[State.QUEUED]) - 1,
                running_analyses=len(ages[State.RUNNING]) - 1,
                queued_shards=sum(shard.state is State.QUEUED for shard in shards),
                running_shards=sum(shard.state is State.RUNNING for shard in shards),
                oldest_queued=max(ages[State.QUEUED]),
                oldest_running=max(ages[State.RUNNING]),
                workers=len(self._live_workers()),
                refused=self._refused,
                crashes=self._crashes,
            )

    def memory_usage(self) -> MemoryUsage:
        """Return zeros, because a metric of the process already reports its memory."""
        return MemoryUsage(0, 0)

    def lost_messages(self, heartbeat_timeout: float) -> Sequence[tuple[str, int | None]]:
        """Return nothing, because messages within a process are never lost."""
        return []

    def ping(self) -> bool:
        """Return True."""
        return True

    def _find_delivery(self, delivery: str) -> Submission | None:
        analysis, time = self._deliveries.get(delivery, ("", 0.0))
        return Submission(Outcome.REPEATED, analysis) if self._clock() - time < DELIVERY_TTL and analysis else None

    def _find_request(self, request_id: str, request_digest: str) -> Submission | None:
        if not request_id or request_id not in self._requests:
            return None
        digest, analysis, _ = self._requests[request_id]
        return Submission(Outcome.REPEATED if digest == request_digest else Outcome.REUSED, analysis)

    def _snapshot(self, record: AnalysisRecord) -> Snapshot:
        job, now = self._jobs.get(record.job), self._clock()
        position = 0
        if job is not None:
            position = sum(other.created < job.created and not other.state.is_final for other in self._jobs.values())
        return Snapshot(record, job, position, len(self._live_workers()), now)

    def _is_open(self, analysis_id: str) -> bool:
        record = self._records.get(analysis_id)
        return record is not None and not record.state.is_final

    def _live_workers(self) -> list[str]:
        now = self._clock()
        return [worker for worker, heartbeat in self._workers.items() if now - heartbeat < WORKER_TIMEOUT]

    def _report(self, job_id: str, shard: int, fencing_token: int, change: Callable[[Shard], Shard]) -> LeaseReply:
        with self._lock:
            job = self._jobs.get(job_id)
            if job is not None and job.state is State.CANCELLED:
                return LeaseReply.CANCEL
            job = self._leased_job(job_id, shard, fencing_token)
            if job is None:
                self._count_refused(job_id)
                return LeaseReply.LOST
            self._workers[job.shards[shard].worker] = self._clock()
            self._write_job(transitions.replace_shard(job, shard, change(job.shards[shard])))
            return LeaseReply.OK

    def _count_refused(self, job_id: str) -> None:
        """Count a refused write of a worker, unless its job has failed or was canceled."""
        job = self._jobs.get(job_id)
        self._refused += job is None or job.state not in (State.FAILED, State.CANCELLED)

    def _leased_job(self, job_id: str, shard: int, fencing_token: int) -> Job | None:
        job = self._jobs.get(job_id)
        return job if job is not None and transitions.holds_lease(job, shard, fencing_token) else None

    def _write_job(self, job: Job) -> None:
        """Store a job, and update the records of its analyses."""
        self._jobs[job.id] = job
        if not job.state.is_final:
            if job.state is State.RUNNING:
                for analysis in job.analyses:
                    self._records[analysis] = replace(self._records[analysis], state=State.RUNNING)
            return
        for analysis in job.analyses:
            if job.state is State.SUCCEEDED:
                self._records.pop(analysis, None)
            else:
                ended = replace(self._records[analysis], state=job.state, failure=job.failure, ended=self._clock())
                self._records[analysis] = ended
        self._close_job(job)
        self._delete_excess()

    def _delete_excess(self) -> None:
        """Delete the oldest ended records beyond MAX_FINISHED, except those with a pending write-back."""
        finished = [record for record in self._records.values() if record.state.is_final]
        excess = len(finished) - transitions.MAX_FINISHED
        if excess > 0:
            for record in sorted(finished, key=lambda record: (record.ended or 0.0, record.id))[:excess]:
                if record.id not in self._outbox:
                    self._delete_record(record)

    def _delete_record(self, record: AnalysisRecord) -> None:
        """Delete an ended record with its request ID, and its job if no other record refers to it."""
        del self._records[record.id]
        request_id = record.request.request_id
        if request_id in self._requests and self._requests[request_id][1] == record.id:
            del self._requests[request_id]
        job = self._jobs.get(record.job)
        if job is None or not job.state.is_final:
            return
        others = job.analyses - {record.id}
        if others:
            self._jobs[job.id] = replace(job, analyses=others)
        else:
            del self._jobs[job.id]

    def _delete_expired(self) -> None:
        """Delete expired records, deliveries, and request IDs, except the request IDs of open analyses."""
        oldest = self._clock() - FINISHED_TTL
        for record in list(self._records.values()):
            if record.ended is not None and record.ended < oldest:
                del self._records[record.id]
        for delivery, (_, time) in list(self._deliveries.items()):
            if time < self._clock() - DELIVERY_TTL:
                del self._deliveries[delivery]
        jobs_of_records = {record.job for record in self._records.values()}
        for job in list(self._jobs.values()):
            if job.state.is_final and job.id not in jobs_of_records:
                del self._jobs[job.id]
        for request, (_, analysis, time) in list(self._requests.items()):
            if time < oldest and analysis not in self._records:
                del self._requests[request]

    def _close_job(self, job: Job) -> None:
        """Delete the data that only an open job needs."""
        self._shard_results.pop(job.id, None)
        if self._dedupe.get(job.spec.dedupe_key) == job.id:
            del self._dedupe[job.spec.dedupe_key]
        if job.state is State.SUCCEEDED:
            del self._jobs[job.id]

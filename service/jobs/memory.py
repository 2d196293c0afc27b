"""The job store in memory, for `--local` and for tests: one lock, nothing outlives the process."""

import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

from errata.errors import Unavailable

from service.domain import Failure, State
from service.jobs import transitions
from service.jobs.store import Depth, Outcome, Snapshot, StoreMemory, Submission, WorkerOffer
from service.jobs.transitions import (
    AnalysisRecord,
    Claim,
    ClaimKind,
    Job,
    JobSpec,
    LeaseReply,
    OutboxItem,
    Shard,
    ShardResult,
)

WORKER_TIMEOUT = 30.0  # seconds without a beat after which a worker counts as gone
KEPT_PARTS = 64  # shards whose predictions are kept for a later request
KEEP_DELIVERY = 48 * 3600.0  # seconds that a delivery is known
KEEP = 7 * 86_400.0  # seconds that what has ended without a result, and a request id, are kept


class InMemoryJobStore:
    """Keeps records in dictionaries; `clock` returns seconds since the epoch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._entries: dict[str, AnalysisRecord] = {}
        self._jobs: dict[str, Job] = {}
        self._parts: dict[str, dict[int, ShardResult]] = {}
        self._dedupe: dict[str, str] = {}
        self._requests: dict[str, tuple[str, str, float]] = {}
        self._images: dict[str, tuple[str, ...]] = {}
        self._workers: dict[str, float] = {}
        self._offers: dict[str, WorkerOffer] = {}
        self._last_offer: WorkerOffer | None = None
        self._kept: dict[str, ShardResult] = {}
        self._results: dict[str, str] = {}
        self._deliveries: dict[str, tuple[str, float]] = {}  # analysis, when it came
        self._owed: dict[str, tuple[float, int]] = {}  # when it is due, tries that failed
        self._archive_id = ""
        self._refused = 0
        self._crashes = 0

    def submit(self, record: AnalysisRecord, spec: JobSpec, *, fresh: bool, limit: int) -> Submission:
        """Accept a request."""
        with self._lock:
            self._drop_old()
            if before := self._delivered(record.delivery) or self._requested(
                record.request.request_id, record.request_digest
            ):
                return before
            said = self._accept(record, spec, fresh=fresh, limit=limit)
            if said.outcome is not Outcome.FULL and record.request.request_id:
                self._requests[record.request.request_id] = (record.request_digest, record.id, self._clock())
            if said.outcome is not Outcome.FULL and record.delivery:
                self._deliveries[record.delivery] = (record.id, self._clock())
            return said

    def resubmit(self, record: AnalysisRecord, spec: JobSpec, *, limit: int) -> Submission | None:
        """Queue an entry that has failed again."""
        with self._lock:
            before = self._entries.get(record.id)
            if before is None or before.state is not State.FAILED:
                return None
            return self._accept(record, spec, fresh=spec.fresh, limit=limit)

    def _accept(self, record: AnalysisRecord, spec: JobSpec, *, fresh: bool, limit: int) -> Submission:
        is_open = [entry for entry in self._entries.values() if not entry.state.is_final]
        if len(is_open) >= limit:
            return Submission(Outcome.FULL, open=len(is_open))
        job = None if fresh else self._jobs.get(self._dedupe.get(spec.dedupe, ""))
        outcome = Outcome.JOINED
        if job is None or job.state.is_final or job.judge_fence:  # whom the judge doesn't know he can't archive
            outcome = Outcome.NEW
            shards = tuple(Shard() for _ in range(spec.num_shards))
            job = Job(uuid.uuid4().hex, spec, shards, created=self._clock())
            if not fresh:
                self._dedupe[spec.dedupe] = job.id
        self._jobs[job.id] = replace(job, analyses=job.analyses | {record.id})
        self._entries[record.id] = replace(record, job=job.id, state=job.state)
        if record.owed:
            self._owed[record.id] = (self._clock(), 0)
        return Submission(outcome, record.id, job.id, len(is_open) + 1)

    def reserve(
        self, request_id: str, request_digest: str, analysis_id: str, *, owed: bool = False, delivery: str = ""
    ) -> Submission:
        """Bind a request id to an analysis that needs no job."""
        with self._lock:
            self._drop_old()
            if before := self._delivered(delivery) or self._requested(request_id, request_digest):
                return before
            if request_id:
                self._requests[request_id] = (request_digest, analysis_id, self._clock())
            if delivery:
                self._deliveries[delivery] = (analysis_id, self._clock())
            if owed:
                self._owed[analysis_id] = (self._clock(), 0)
            return Submission(Outcome.NEW, analysis_id)

    def release(self, request_id: str) -> None:
        """Give a reserved request id free."""
        with self._lock:
            self._requests.pop(request_id, None)

    def remember_images(self, digest: str, names: Sequence[str]) -> None:
        """Keep the names of a data set's images."""
        with self._lock:
            self._images.setdefault(digest, tuple(names))

    def images(self, digest: str) -> Sequence[str]:
        """Return the names kept under a digest."""
        with self._lock:
            if digest not in self._images:
                raise Unavailable(f"no image names are kept under {digest[:12]}")
            return self._images[digest]

    def snapshot(self, analysis_id: str) -> Snapshot | None:
        """Return an entry and its job."""
        with self._lock:
            record = self._entries.get(analysis_id)
            return self._snapshot(record) if record else None

    def entries(self) -> Sequence[Snapshot]:
        """Return every entry."""
        with self._lock:
            return [self._snapshot(record) for record in self._entries.values()]

    def job(self, job_id: str) -> Job | None:
        """Return a job."""
        with self._lock:
            return self._jobs.get(job_id)

    def cancel(self, analysis_id: str, reason: str) -> bool:
        """Cancel an entry."""
        with self._lock:
            record = self._entries.get(analysis_id)
            if record is None or record.state.is_final:
                return False
            failure = Failure("CANCELLED", reason)
            self._entries[record.id] = replace(record, state=State.CANCELLED, failure=failure, ended=self._clock())
            job = self._jobs[record.job]
            waiting = job.analyses - {record.id}
            job = replace(job, analyses=waiting, state=job.state if waiting else State.CANCELLED)
            self._jobs[job.id] = job
            if not waiting:
                self._close(job)
            self._drop_finished()
            return True

    def forget(self, analysis_id: str) -> bool:
        """Remove a final entry."""
        with self._lock:
            record = self._entries.get(analysis_id)
            if record is None or not record.state.is_final:
                return False
            del self._entries[analysis_id]
            return True

    def claim(self, job_id: str, shard: int, worker: str, lease: float) -> Claim:
        """Try to take a shard."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None:
                return Claim(ClaimKind.SKIP)
            after, claimed = transitions.claim(job, shard, self._clock(), lease, worker)
            took_over = claimed.kind in (ClaimKind.TAKEN, ClaimKind.LOST)
            self._crashes += took_over and job.shards[shard].state is State.RUNNING
            if after is not job:
                self._keep(after)
            return claimed

    def renew_lease(self, job_id: str, shard: int, fencing_token: int, lease: float) -> LeaseReply:
        """Renew a hold."""
        return self._report(job_id, shard, fencing_token, lambda held: replace(held, lease=self._clock() + lease))

    def progress(self, job_id: str, shard: int, fencing_token: int, done: int) -> LeaseReply:
        """Write how many images are predicted."""
        return self._report(job_id, shard, fencing_token, lambda held: replace(held, done=done))

    def finish_shard(self, job_id: str, shard: int, fencing_token: int, part: ShardResult) -> int | None:
        """Keep a shard's predictions."""
        with self._lock:
            job = self._held(job_id, shard, fencing_token)
            if job is None:
                self._count_late(job_id)
                return None
            self._parts.setdefault(job_id, {})[shard] = part
            finished = replace(job.shards[shard], state=State.SUCCEEDED, done=len(part.predictions.top1))
            job = transitions.with_shard(job, shard, finished)
            self._keep(job)
            return job.left

    def store_shard_result(self, key: str, part: ShardResult) -> None:
        """Keep a shard's predictions, as long as there is room."""
        with self._lock:
            self._kept[key] = part
            while len(self._kept) > KEPT_PARTS:
                del self._kept[next(iter(self._kept))]

    def cached_shard_result(self, key: str) -> ShardResult | None:
        """Return predictions that were kept."""
        with self._lock:
            return self._kept.get(key)

    def store_result(self, key: str, analysis_id: str) -> None:
        """Keep which archived analysis has a result."""
        with self._lock:
            self._results[key] = analysis_id

    def result(self, key: str) -> str | None:
        """Return the analysis that was kept."""
        with self._lock:
            return self._results.get(key)

    def owed(self, lease: float, most: int = 100) -> Sequence[OutboxItem]:
        """Take the analyses that are due to be told."""
        with self._lock:
            now = self._clock()
            due = [(each, tries) for each, (at, tries) in self._owed.items() if at <= now and not self._is_open(each)]
            due = due[:most]
            self._owed |= {each: (now + lease, tries) for each, tries in due}
            return [OutboxItem(each, tries) for each, tries in due]

    def postpone(self, analysis_id: str, delay: float, *, failed: bool) -> None:
        """Let an owed analysis come again later."""
        with self._lock:
            if analysis_id in self._owed:
                self._owed[analysis_id] = (self._clock() + delay, self._owed[analysis_id][1] + failed)

    def settle(self, analysis_id: str) -> None:
        """Note that an analysis isn't owed any more."""
        with self._lock:
            self._owed.pop(analysis_id, None)

    def release_shard(self, job_id: str, shard: int, fencing_token: int) -> bool:
        """Queue a shard again."""
        with self._lock:
            job = self._held(job_id, shard, fencing_token)
            if job is None:
                return False
            self._keep(transitions.with_shard(job, shard, replace(job.shards[shard], state=State.QUEUED, done=0)))
            return True

    def retry(self, job_id: str, shard: int, fencing_token: int, failure: Failure) -> float | None:
        """Queue a shard again after a transient error."""
        with self._lock:
            job = self._held(job_id, shard, fencing_token)
            if job is None:
                return None
            if job.shards[shard].retries >= transitions.RETRY_LIMIT:
                self._keep(transitions.failed(job, failure))
                return None
            waiting = transitions.backed_off(job.shards[shard], self._clock())
            self._keep(transitions.with_shard(job, shard, waiting))
            return waiting.retry_at - self._clock()

    def fail(self, job_id: str, shard: int, fencing_token: int, failure: Failure) -> bool:
        """End a job as failed."""
        with self._lock:
            job = self._held(job_id, shard, fencing_token)
            if job is None:
                return False
            self._keep(transitions.failed(job, failure))
            return True

    def parts(self, job_id: str) -> Sequence[ShardResult]:
        """Return the predictions of all shards."""
        with self._lock:
            parts = self._parts.get(job_id, {})
            return [parts[shard] for shard in sorted(parts)]

    def claim_judging(self, job_id: str) -> int | None:
        """Take the judging of a job."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or job.state.is_final or job.left:
                return None
            self._jobs[job_id] = replace(job, judge_fence=job.judge_fence + 1)
            return job.judge_fence + 1

    def finish(self, job_id: str, fencing_token: int, failure: Failure | None = None) -> bool:
        """End a judged job."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or job.state.is_final or job.judge_fence != fencing_token:
                return False
            self._keep(transitions.failed(job, failure) if failure else replace(job, state=State.SUCCEEDED))
            return True

    def bind_archive(self, archive_id: str) -> str:
        """Bind the store to an archive."""
        with self._lock:
            self._archive_id = self._archive_id or archive_id
            return self._archive_id

    def worker_alive(self, worker: str, offer: WorkerOffer | None = None) -> None:
        """Note that a worker lives, and what it can do."""
        with self._lock:
            self._workers[worker] = self._clock()
            if offer is not None:
                self._offers[worker] = self._last_offer = offer

    def worker_gone(self, worker: str) -> None:
        """Note that a worker has ended."""
        with self._lock:
            self._workers.pop(worker, None)
            self._offers.pop(worker, None)

    def offers(self) -> Sequence[WorkerOffer]:
        """Return what the live workers can do; without any, what the last one could."""
        with self._lock:
            live = [self._offers[item] for item in self._live() if item in self._offers]
            return live or ([self._last_offer] if self._last_offer else [])

    def depth(self) -> Depth:
        """Return how much waits or runs, how many workers live, and what went wrong."""
        with self._lock:
            now = self._clock()
            ages: dict[State, list[float]] = {State.QUEUED: [0.0], State.RUNNING: [0.0]}
            for entry in self._entries.values():
                if not entry.state.is_final:
                    ages[entry.state].append(now - entry.created)
            shards = [shard for job in self._jobs.values() if not job.state.is_final for shard in job.shards]
            return Depth(
                queued_analyses=len(ages[State.QUEUED]) - 1,
                running_analyses=len(ages[State.RUNNING]) - 1,
                queued_shards=sum(shard.state is State.QUEUED for shard in shards),
                running_shards=sum(shard.state is State.RUNNING for shard in shards),
                oldest_queued=max(ages[State.QUEUED]),
                oldest_running=max(ages[State.RUNNING]),
                workers=len(self._live()),
                refused=self._refused,
                crashes=self._crashes,
            )

    def memory(self) -> StoreMemory:
        """Return nothing: the process' own memory is a metric already."""
        return StoreMemory(0, 0)

    def overdue(self, heartbeat: float) -> Sequence[tuple[str, int | None]]:
        """Return nothing: messages in this process aren't lost."""
        return []

    def ping(self) -> bool:
        """Say that the store answers."""
        return True

    def _delivered(self, delivery: str) -> Submission | None:
        analysis, came = self._deliveries.get(delivery, ("", 0.0))
        return Submission(Outcome.REPEATED, analysis) if self._clock() - came < KEEP_DELIVERY and analysis else None

    def _requested(self, request_id: str, request_digest: str) -> Submission | None:
        if not request_id or request_id not in self._requests:
            return None
        digest, analysis, _ = self._requests[request_id]
        return Submission(Outcome.REPEATED if digest == request_digest else Outcome.REUSED, analysis)

    def _snapshot(self, record: AnalysisRecord) -> Snapshot:
        job, now = self._jobs.get(record.job), self._clock()
        ahead = 0
        if job is not None:
            ahead = sum(item.created < job.created and not item.state.is_final for item in self._jobs.values())
        return Snapshot(record, job, ahead, len(self._live()), now)

    def _is_open(self, analysis_id: str) -> bool:
        record = self._entries.get(analysis_id)
        return record is not None and not record.state.is_final

    def _live(self) -> list[str]:
        now = self._clock()
        return [worker for worker, renew_lease in self._workers.items() if now - renew_lease < WORKER_TIMEOUT]

    def _report(self, job_id: str, shard: int, fencing_token: int, change: Callable[[Shard], Shard]) -> LeaseReply:
        with self._lock:
            job = self._jobs.get(job_id)
            if job is not None and job.state is State.CANCELLED:
                return LeaseReply.CANCEL
            job = self._held(job_id, shard, fencing_token)
            if job is None:
                self._count_late(job_id)
                return LeaseReply.LOST
            self._workers[job.shards[shard].worker] = self._clock()
            self._keep(transitions.with_shard(job, shard, change(job.shards[shard])))
            return LeaseReply.OK

    def _count_late(self, job_id: str) -> None:
        """Count a write that came too late, unless the job has failed or was cancelled under its workers' hands."""
        job = self._jobs.get(job_id)
        self._refused += job is None or job.state not in (State.FAILED, State.CANCELLED)

    def _held(self, job_id: str, shard: int, fencing_token: int) -> Job | None:
        job = self._jobs.get(job_id)
        return job if job is not None and transitions.holds(job, shard, fencing_token) else None

    def _keep(self, job: Job) -> None:
        """Write a job back; once it is final, its entries follow."""
        self._jobs[job.id] = job
        if not job.state.is_final:
            if job.state is State.RUNNING:
                for analysis in job.analyses:
                    self._entries[analysis] = replace(self._entries[analysis], state=State.RUNNING)
            return
        for analysis in job.analyses:
            if job.state is State.SUCCEEDED:
                self._entries.pop(analysis, None)
            else:
                ended = replace(self._entries[analysis], state=job.state, failure=job.failure, ended=self._clock())
                self._entries[analysis] = ended
        self._close(job)
        self._drop_finished()

    def _drop_finished(self) -> None:
        """Drop what ended first, beyond MAX_FINISHED, but for what a registry still waits for."""
        finished = [record for record in self._entries.values() if record.state.is_final]
        excess = len(finished) - transitions.MAX_FINISHED
        if excess > 0:
            for record in sorted(finished, key=lambda record: (record.ended or 0.0, record.id))[:excess]:
                if record.id not in self._owed:
                    self._drop(record)

    def _drop(self, record: AnalysisRecord) -> None:
        """Remove an entry that has ended, with its request id, and with its job once no other entry is of it."""
        del self._entries[record.id]
        request_id = record.request.request_id
        if request_id in self._requests and self._requests[request_id][1] == record.id:
            del self._requests[request_id]
        job = self._jobs.get(record.job)
        if job is None or not job.state.is_final:
            return
        left = job.analyses - {record.id}
        if left:
            self._jobs[job.id] = replace(job, analyses=left)
        else:
            del self._jobs[job.id]

    def _drop_old(self) -> None:
        """Forget what ended, and request ids that came, longer ago than KEEP, unless they are of something open."""
        since = self._clock() - KEEP
        for record in [entry for entry in self._entries.values() if entry.ended is not None and entry.ended < since]:
            del self._entries[record.id]
        for delivery in [key for key, (_, came) in self._deliveries.items() if came < self._clock() - KEEP_DELIVERY]:
            del self._deliveries[delivery]
        waited_for = {entry.job for entry in self._entries.values()}
        for job in [item for item in self._jobs.values() if item.state.is_final and item.id not in waited_for]:
            del self._jobs[job.id]
        for request, (_, analysis, came) in list(self._requests.items()):
            if came < since and analysis not in self._entries:
                del self._requests[request]

    def _close(self, job: Job) -> None:
        """Drop what only an open job needs."""
        self._parts.pop(job.id, None)
        if self._dedupe.get(job.spec.dedupe) == job.id:
            del self._dedupe[job.spec.dedupe]
        if job.state is State.SUCCEEDED:
            del self._jobs[job.id]

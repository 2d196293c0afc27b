"""The job store. Its rules are in this module, lifecycle.py, and transitions.py. Redis or this process stores records.

A method that changes records is one atomic step: it reads records, applies a pure function, and writes the changes if
the records that it read are still the same. Otherwise, the step starts again.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from errata.errors import Unavailable

from service.domain import Failure, State
from service.jobs import fair_order, lifecycle, lost_messages, records, transitions
from service.jobs.reader import JobReader
from service.jobs.records import JOBS, read_or_none
from service.jobs.transaction import (
    JobTransaction,
    members_command,
    shard_command,
    waiting_command,
)
from service.jobs.transitions import (
    AnalysisRecord,
    Claim,
    JobSpec,
    JobStatus,
    LeaseReply,
    OutboxItem,
    Shard,
    ShardResult,
    Step,
)
from service.key_value.commands import PREFIX, format_time, number, pairs, texts
from service.key_value.store import atomic

MODELS, JUDGING = "models", "errands"  # the queues of the engine; `errands` is the stored name of the second
MAX_EXPIRED = 10  # shards with an expired lease that a worker considers before each message
Value = TypeVar("Value")
Arguments = ParamSpec("Arguments")


class Outcome(Enum):
    """The outcome of a submission."""

    NEW = "new"  # a new job: its shards must be sent
    JOINED = "joined"  # the analysis waits for an open job of an earlier analysis
    REPEATED = "repeated"  # the same request ID, with the same body, was accepted before
    REUSED = "reused"  # the same request ID, with another body, was accepted before
    FULL = "full"  # too many analyses are open
    OWNER_FULL = "owner full"  # too many analyses of the owner are open


@dataclass(frozen=True)
class Submission:
    """The reply to a submission."""

    outcome: Outcome
    analysis: str = ""  # id
    job: str = ""  # id
    open: int = 0  # number of open analyses; for OWNER_FULL, only those of the owner


class JobStore(JobReader):
    """Stores open analyses and, for a limited time, failed and canceled analyses. Thread-safe."""

    @atomic
    def submit(
        self, tx: JobTransaction, record: AnalysisRecord, spec: JobSpec, *, limit: int, owner_limit: int = 0
    ) -> Submission:
        """Submit an analysis: create a job, join an open one, or return the analysis of an earlier request.

        Args:
            record: The analysis.
            spec: The computation that it needs. If it is fresh, the analysis joins no open job.
            limit: Maximum number of open analyses.
            owner_limit: Maximum number of open analyses of the owner; 0: no limit.

        Returns:
            The outcome, with the ids of the analysis and of its job. For a delivery that was submitted before, the
            outcome is REPEATED even if the request differs now.
        """
        request_id = record.request.request_id
        tx.prefetch(
            ("ZCARD", f"{PREFIX}open:analyses"),
            ("GET", f"{PREFIX}dedupe:{spec.dedupe_key}"),
            ("GET", f"{PREFIX}delivery:{record.delivery}"),
            ("HMGET", f"{PREFIX}request:{request_id}", "digest", "analysis"),
        )
        before = _find_before(tx, request_id, record.request_digest, record.delivery)
        return before or _accept(tx, record, spec, limit, owner_limit)

    @atomic
    def resubmit(
        self, tx: JobTransaction, record: AnalysisRecord, spec: JobSpec, *, limit: int, owner_limit: int = 0
    ) -> Submission | None:
        """Queue a failed analysis again under the same id; return None unless it has failed."""
        before = tx.record(record.id)
        if before is None or before.state is not State.FAILED:
            return None
        return _accept(tx, record, spec, limit, owner_limit)

    @atomic
    def reserve(
        self,
        tx: JobTransaction,
        request_id: str,
        request_digest: str,
        analysis_id: str,
        *,
        needs_write_back: bool = False,
        delivery: str = "",
    ) -> Submission:
        """Bind a request ID to an analysis that needs no job.

        Args:
            request_id: The request ID; empty: bind nothing.
            request_digest: Digest of the request's body.
            analysis_id: The id of the analysis if the request is new.
            needs_write_back: Whether to add a new analysis to the outbox.
            delivery: Key of a registry's delivery; empty if there is none.

        Returns:
            NEW, REPEATED, or REUSED. For a delivery that was submitted before, the outcome is REPEATED even if the
            request differs now.
        """
        if before := _find_before(tx, request_id, request_digest, delivery):
            return before
        lifecycle.bind(tx, request_id, request_digest, delivery, analysis_id, is_open=False)
        if needs_write_back:
            tx.add_to_outbox(analysis_id)
        return Submission(Outcome.NEW, analysis_id)

    @atomic
    def cancel_reservation(self, tx: JobTransaction, request_id: str, analysis_id: str, delivery: str = "") -> None:
        """Undo `reserve` for an analysis that was not archived: release the IDs that are bound to it."""
        lifecycle.release_request_id(tx, request_id, analysis_id)
        if delivery and tx.get(f"delivery:{delivery}") == analysis_id:
            tx.write("DEL", f"{PREFIX}delivery:{delivery}")
        tx.delete_outbox_item(analysis_id)

    @atomic
    def release_request_id(self, tx: JobTransaction, request_id: str, analysis_id: str) -> None:
        """Release the request ID of a deleted analysis, if the ID is bound to it."""
        lifecycle.release_request_id(tx, request_id, analysis_id)

    def cancel(self, analysis_id: str, reason: str) -> bool:
        """Cancel an analysis, and its job unless others wait for the job; return whether the analysis was open."""
        was_open = self.run(lambda tx: lifecycle.cancel(tx, analysis_id, reason))
        if was_open:
            self._delete_excess()
        return was_open

    def _delete_excess(self) -> None:
        """Delete the oldest ended analyses. An error does not hide the change before; the next call deletes them."""
        with suppress(Unavailable):
            self.run(lifecycle.delete_excess)

    @atomic
    def delete(self, tx: JobTransaction, analysis_id: str) -> bool:
        """Delete a final record; return whether it existed."""
        record = tx.record(analysis_id)
        if record is None or not record.state.is_final:
            return False
        tx.delete_record(analysis_id)
        return True

    @atomic
    def next_shard(
        self, tx: JobTransaction, job_id: str, shard: int, can_run: Callable[[JobSpec], bool]
    ) -> tuple[str, int] | None:
        """Return the job and the index of the shard that a worker should claim; None: the shard of its message."""
        return fair_order.next_shard(tx, (job_id, shard), can_run)

    def claim_shard(self, job_id: str, shard: int, worker: str, lease: float) -> Claim:
        """Claim a shard for a lease of `lease` seconds."""
        return self._change_shard(job_id, shard, transitions.claim, shard, worker, lease)

    def renew_lease(self, job_id: str, shard: int, fencing_token: int, lease: float) -> LeaseReply:
        """Renew the lease of a shard for `lease` seconds from now."""
        return self._change_shard(job_id, shard, transitions.renew, fencing_token, lease)

    def report_progress(self, job_id: str, shard: int, fencing_token: int, done: int) -> LeaseReply:
        """Store the number of predicted images of a shard."""
        return self._change_shard(job_id, shard, transitions.progress, fencing_token, done)

    def finish_shard(self, job_id: str, shard: int, fencing_token: int, result: ShardResult) -> int | None:
        """Store a shard's predictions; return how many shards are left, None if the fencing token is not current."""
        return self._change_shard(job_id, shard, transitions.finish, fencing_token, result)

    def release_shard(self, job_id: str, shard: int, fencing_token: int) -> bool:
        """Queue a shard again without counting a retry; return whether the fencing token was current."""
        return self._change_shard(job_id, shard, transitions.release, fencing_token)

    def retry_shard(self, job_id: str, shard: int, fencing_token: int, failure: Failure) -> float | None:
        """Queue a shard again after a transient error; fail its job after too many errors.

        Returns:
            Seconds until the retry; NO_RETRY if the job has failed now, None if the fencing token is not current.
        """
        return self._change_shard(job_id, shard, transitions.retry, fencing_token, failure)

    def fail_job(self, job_id: str, shard: int, fencing_token: int, failure: Failure) -> bool:
        """End a job as failed; return whether the fencing token was current."""
        return self._change_shard(job_id, shard, transitions.fail, fencing_token, failure)

    def postpone_shard(self, job_id: str, shard: int, delay: float) -> None:
        """Note that the message of a shard is sent again in `delay` seconds. Until then, the message is not lost."""
        self._change_shard(job_id, shard, transitions.postpone, delay)

    def _change_shard(
        self,
        job_id: str,
        index: int,
        transition: Callable[Concatenate[JobStatus, Shard, float, Arguments], Step[Value]],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Value:
        """Apply a transition to a shard and its job, and return the reply of the transition."""

        def step(tx: JobTransaction) -> tuple[Value, bool]:
            tx.prefetch(JOBS.command(job_id), shard_command(job_id, index))
            # The record of a job that has succeeded is deleted.
            job = tx.job(job_id) or JobStatus(job_id, 0, 0, "", 0.0, State.SUCCEEDED)
            shard = tx.shard(job_id, index) or Shard(State.SUCCEEDED)
            result = transition(job, shard, tx.now, *args, **kwargs)
            lifecycle.write_step(tx, job, index, shard, result)
            return result.reply, result.job.state.is_final and not job.state.is_final

        reply, has_ended = self.run(step)
        if has_ended:
            self._delete_excess()
        return reply

    def claim_judging(self, job_id: str) -> int | None:
        """Claim the judging of a job whose shards are all done; return its fencing token, None if the job has ended."""
        job = self._change_job(job_id, transitions.claim_judging)
        return None if job is None else job.judging_token

    def postpone_judging(self, job_id: str, delay: float) -> None:
        """Note that the message for the judging of a job is sent again in `delay` seconds."""
        self._change_job(job_id, partial(transitions.postpone_judging, delay=delay))

    def finish_job(self, job_id: str, fencing_token: int, failure: Failure | None = None) -> bool:
        """End a judged job, as failed if `failure` is set; return whether the fencing token was current.

        The records of a job that succeeds are deleted, because the archive has its analyses.
        """
        finish = partial(transitions.finish_judging, fencing_token=fencing_token, failure=failure)
        return self._change_job(job_id, finish) is not None

    def _change_job(self, job_id: str, transition: Callable[[JobStatus, float], JobStatus | None]) -> JobStatus | None:
        """Apply a transition to a job; return the changed job, None if the transition changes nothing."""

        def step(tx: JobTransaction) -> JobStatus | None:
            tx.prefetch(JOBS.command(job_id), JOBS.constant_command(job_id), waiting_command(job_id))
            before = tx.job(job_id)
            job = None if before is None else transition(before, tx.now)
            if before is not None and job is not None:
                lifecycle.write_job(tx, before, job)
            return job

        job = self.run(step)
        if job is not None and job.state is State.FAILED:
            self._delete_excess()
        return job

    @atomic
    def due_outbox_items(self, tx: JobTransaction, lease: float, limit: int = 100) -> Sequence[OutboxItem]:
        """Lease due outbox items whose analyses have ended.

        An analysis that a registry requested enters the outbox in the step that accepts it. An item is due
        again when its lease ends, unless it was deleted before.

        Args:
            lease: Duration of the lease, in seconds.
            limit: Maximum number of items.
        """
        due = texts(tx.read("ZRANGEBYSCORE", f"{PREFIX}owed", "-inf", format_time(tx.now)))
        if not due:
            return []
        open_analyses = set(texts(tx.read("ZRANGE", f"{PREFIX}open:analyses", 0, -1, check=False)))
        ended = [analysis_id for analysis_id in due if analysis_id not in open_analyses]
        items = [item for analysis_id in ended[:limit] if (item := tx.outbox_item(analysis_id)) is not None]
        for item in items:
            tx.update_outbox_item(item, tx.now + lease)
        return items

    @atomic
    def postpone_outbox_item(self, tx: JobTransaction, item: OutboxItem, delay: float, *, failed: bool) -> None:
        """Postpone a leased outbox item by `delay` seconds; count a failed attempt if `failed`.

        Like `delete_outbox_item`, this does nothing if the analysis was retried after the lease.
        """
        before = tx.outbox_item(item.analysis)
        if before is not None and before.job == item.job:
            tx.update_outbox_item(replace(before, attempts=before.attempts + failed), tx.now + delay)

    @atomic
    def delete_outbox_item(self, tx: JobTransaction, item: OutboxItem) -> None:
        """Delete a leased outbox item, unless the analysis was retried after the lease: its result must be written."""
        if tx.job_id(item.analysis) == item.job:
            tx.delete_outbox_item(item.analysis)

    def mark_lost_messages(self, empty_queues: Collection[str]) -> Sequence[tuple[str, int | None]]:
        """Return the jobs and shards whose message is lost, and mark their messages as sent now.

        Args:
            empty_queues: The queues that a consumer found empty at its last fetch.

        Returns:
            Pairs of a job and a shard. The shard is None if the message for the judging of the job is lost.
        """
        is_empty, heartbeat = MODELS in empty_queues, self.heartbeat_timeout

        def mark_shard(job_id: str, index: int) -> bool:
            return self._change_shard(job_id, index, lost_messages.mark_lost, is_empty, heartbeat)

        mark_judging = partial(lost_messages.mark_judging_lost, heartbeat=heartbeat)
        shards, jobs = self._find_lost(is_empty)
        lost: list[tuple[str, int | None]] = [at for at in shards if read_or_none(mark_shard, *at)]
        if JUDGING in empty_queues:
            lost += [(job_id, None) for job_id in jobs if read_or_none(self._change_job, job_id, mark_judging)]
        return lost

    @atomic
    def _find_lost(self, tx: JobTransaction, is_empty: bool) -> tuple[list[tuple[str, int]], list[str]]:
        """Return the shards whose message is lost, and the open jobs.

        The step needs two round trips, because there can be thousands of shards.
        """
        tx.prefetch(members_command("open:models"), members_command("open:jobs"))
        shards = list(records.shards_of(tx.members("open:models")))
        tx.prefetch(*(shard_command(*at) for at in shards))
        known = [(at, shard) for at in shards if (shard := read_or_none(tx.shard, *at)) is not None]
        timeout = self.heartbeat_timeout
        lost = [at for at, shard in known if lost_messages.is_shard_lost(shard, tx.now, is_empty, timeout)]
        return lost, tx.members("open:jobs")

    @atomic
    def expired_shards(self, tx: JobTransaction) -> Sequence[tuple[str, int]]:
        """Return at most MAX_EXPIRED shards whose first lease has expired; the lease that expired first comes first.

        A shard that has crashed a worker before is not included. It waits for its own message, at the end of the queue.
        The step also corrects `leases`, which older versions do not update.
        """
        leases = tx.read("ZRANGE", f"{PREFIX}leases", 0, MAX_EXPIRED - 1, "WITHSCORES", check=False)
        shards = list(records.shards_of(member for member, lease in pairs(leases) if lease <= tx.now))
        tx.prefetch(*(shard_command(*at) for at in shards))
        expired = []
        for job_id, index in shards:
            shard = read_or_none(tx.shard, job_id, index)
            if shard is None or shard.state is not State.RUNNING or (shard.crashes and shard.lease <= tx.now):
                tx.write("ZREM", f"{PREFIX}leases", f"{job_id}:{index}")
            elif shard.lease > tx.now:
                tx.write("ZADD", f"{PREFIX}leases", format_time(shard.lease), f"{job_id}:{index}")
            else:
                expired.append((job_id, index))
        return expired


def _find_before(tx: JobTransaction, request_id: str, digest: str, delivery: str) -> Submission | None:
    """Return the submission of an earlier request or delivery; None if there is none."""
    if delivery and (analysis := tx.get(f"delivery:{delivery}")):
        return Submission(Outcome.REPEATED, analysis)
    before = tx.request(request_id) if request_id else None
    return before and Submission(Outcome.REPEATED if before[0] == digest else Outcome.REUSED, before[1])


def _accept(tx: JobTransaction, record: AnalysisRecord, spec: JobSpec, limit: int, owner_limit: int) -> Submission:
    """Add an open analysis with its job, and bind its request ID and its delivery, unless a limit is reached."""
    num_open = int(number(tx.read("ZCARD", f"{PREFIX}open:analyses")))
    if num_open >= limit:
        return Submission(Outcome.FULL, open=num_open)
    if owner_limit and (num_own := lifecycle.count_open(tx, record.owner)) >= owner_limit:
        return Submission(Outcome.OWNER_FULL, open=num_own)
    job, is_new = lifecycle.join_or_create(tx, record, spec)
    lifecycle.bind(tx, record.request.request_id, record.request_digest, record.delivery, record.id, is_open=True)
    return Submission(Outcome.NEW if is_new else Outcome.JOINED, record.id, job.id, num_open + 1)

"""The job store. Its rules are in this module and in transitions.py. Redis or this process stores the records.

A method that changes records is one atomic step: it reads records, applies a pure function, and writes the changes if
the records that it read are still the same. Otherwise, the step starts again.
"""

import uuid
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import Concatenate

from errata.errors import DamagedRecord, NewerRecord, Unavailable

from service.domain import Failure, State
from service.jobs import fair_order, records, transitions
from service.jobs.base_store import BaseStore
from service.jobs.records import ANALYSES, JOBS, ShardKey, read_or_none
from service.jobs.transaction import FINISHED_TTL, JobTransaction, members_command, shard_command, waiting_command
from service.jobs.transitions import (
    AnalysisRecord,
    Claim,
    ClaimOutcome,
    Job,
    JobSpec,
    JobStatus,
    OutboxItem,
    RecordStatus,
    Shard,
    Step,
)
from service.key_value.commands import PREFIX, format_time, number, texts
from service.key_value.store import Arguments, Value, atomic

MODELS, JUDGING = "models", "errands"  # the queues of the engine; `errands` is the stored name of the second
ENDING_SECONDS = 60  # TTL of the started job of a deleted analysis: its workers notice the end within seconds


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


class JobStore(BaseStore):
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
        """Queue a failed analysis again under the same id; return None unless it has failed.

        Its failed job is deleted if no other analysis refers to it.
        """
        before = tx.record(record.id)
        if before is None or before.state is not State.FAILED:
            return None
        submission = _accept(tx, record, spec, limit, owner_limit)
        if submission.job:
            _delete_unused_job(tx, before.job, {record.id})
        return submission

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
        tx.bind(request_id, request_digest, delivery, analysis_id, is_open=False)
        if needs_write_back:
            tx.add_to_outbox(analysis_id)
        return Submission(Outcome.NEW, analysis_id)

    @atomic
    def release_ids(self, tx: JobTransaction, request_id: str, analysis_id: str, delivery: str = "") -> None:
        """Release the IDs of an analysis that was not archived or is deleted, and delete its outbox item."""
        tx.release_request_id(request_id, analysis_id)
        if delivery and tx.get(f"delivery:{delivery}") == analysis_id:
            tx.write("DEL", f"{PREFIX}delivery:{delivery}")
        tx.delete_outbox_item(analysis_id)

    @atomic
    def cancel(
        self, tx: JobTransaction, analysis_id: str, reason: str, *, during_archiving: bool = False
    ) -> bool | None:
        """Cancel an analysis, and its job unless others wait for the job; return whether the analysis was open.

        If its result may be archived, the analysis is not canceled unless `during_archiving`, and None is returned.
        """
        record = tx.record(analysis_id)
        if record is None or record.state.is_final:
            return False
        tx.prefetch(JOBS.command(record.job), waiting_command(record.job))
        tx.check_known(ANALYSES, analysis_id)
        tx.check_known(JOBS, record.job)
        job = _find_job(tx, record.job)
        if job is not None and job.may_be_archived and not during_archiving:
            return None
        tx.set_state(record, State.CANCELLED, Failure("CANCELLED", reason))
        if tx.waiting(record.job) != [analysis_id]:  # else the job, which ends too, still shows its progress
            tx.remove_waiting(record.job, [analysis_id])
        elif job is not None and not job.state.is_final:
            tx.update_job(replace(job, state=State.CANCELLED))
        return True

    def _after_step(self, tx: JobTransaction) -> None:
        """Delete excess ended analyses. An error does not hide the change before; the next step deletes them."""
        if tx.ends_analyses:
            with suppress(Unavailable):
                self._delete_excess()

    @atomic
    def _delete_excess(self, tx: JobTransaction) -> None:
        """Delete the ended analyses beyond MAX_FINISHED, except those with a pending write-back.

        An analysis is deleted with its request ID, and with its job if no other analysis refers to it.
        """
        ids = _find_excess(tx, self._ended_owners)
        tx.prefetch(*map(ANALYSES.command, ids))
        deleted: dict[str, set[str]] = {}
        for analysis_id in ids:
            record = read_or_none(tx.record, analysis_id)
            if record is not None and not record.state.is_final:  # a version without the key `finished` queued it again
                tx.write("ZREM", f"{PREFIX}finished", analysis_id)
            elif record is None or tx.outbox_item(analysis_id) is None:
                tx.delete_record(analysis_id)
                if record is not None:
                    tx.release_request_id(record.request_id, record.id)
                    deleted.setdefault(record.job, set()).add(analysis_id)
        for job_id, analyses in deleted.items():
            _delete_unused_job(tx, job_id, analyses)

    @atomic
    def delete(self, tx: JobTransaction, analysis_id: str) -> bool:
        """Delete a final record; return whether it existed. Delete its job too, if only this analysis refers to it."""
        record = tx.record(analysis_id)
        if record is None or not record.state.is_final:
            return False
        tx.delete_record(analysis_id)
        _delete_unused_job(tx, record.job, {analysis_id})
        return True

    @atomic
    def claim_next(
        self, tx: JobTransaction, message: ShardKey, worker: str, can_run: Callable[[JobSpec], bool] = lambda _: True
    ) -> tuple[Claim, Job | None, int]:
        """Claim the shard whose turn it is for a lease of two thirds of the heartbeat.

        Args:
            message: The job and the index of the shard whose message the worker received.
            worker: The name of the worker.
            can_run: Returns whether the worker can run a job.

        Returns:
            The reply, the job of the shard (without its shards), and the index of the shard. If the worker can run no
            available shard, the job is None. The reply is then WAIT (deliver the message again after the delay), or
            SKIP (acknowledge it) if the shard of the message has ended and no other shard needs the message.
        """
        job, index = fair_order.next_shard(tx, message, can_run, self._known_owners) or (None, message[1])
        if job is None:
            with suppress(DamagedRecord, NewerRecord), self._log_damage():  # `next_shard` skips a damaged job silently
                records.read_head(message[0], tx.read(*JOBS.command(message[0]), check=False))
            claim = self._change_shard(tx, transitions.claim, *message, worker, self.lease_seconds, can_run=False)
            if claim.kind is ClaimOutcome.SKIP and (
                other := fair_order.next_shard(tx, message, lambda _: True, self._known_owners)
            ):
                claim = self._change_shard(tx, transitions.keep_message, other[0].id, other[1])
            return claim, None, index
        claim = self._change_shard(tx, transitions.claim, job.id, index, worker, self.lease_seconds)
        tx.note_time("turns", job.owner, fair_order.TURN_SECONDS)
        analyses = tx.waiting(job.id, check=False)  # only for traces and logs
        return claim, replace(job, analyses=frozenset(analyses)), index

    def _change_shard(
        self,
        tx: JobTransaction,
        /,
        transition: Callable[Concatenate[JobStatus, Shard, float, Arguments], Step[Value]],
        job_id: str,
        index: int,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Value:
        """Apply a transition to a shard and its job, and return its reply."""
        tx.prefetch(JOBS.command(job_id), shard_command(job_id, index))
        # The record of a job that has succeeded is deleted.
        job = tx.job(job_id) or JobStatus(job_id, 0, 0, "", 0.0, State.SUCCEEDED)
        shard = tx.shard(job_id, index) or Shard(State.SUCCEEDED)
        step = transition(job, shard, tx.now, *args, **kwargs)
        if step.result is not None:
            tx.write("SET", f"{PREFIX}part:{job_id}:{index}", records.pack_shard_result(step.result))
        if step.counter:
            tx.write("INCR", PREFIX + step.counter)
        if step.shard != shard:
            tx.update_shard(job_id, index, step.shard)
        if step.job != job:
            _write_job(tx, job, step.job)
        return step.reply

    change_shard = atomic(_change_shard)

    @atomic
    def change_job(
        self,
        tx: JobTransaction,
        /,
        transition: Callable[Concatenate[JobStatus, float, Arguments], JobStatus | None],
        job_id: str,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> JobStatus | None:
        """Apply a transition to a job; return the changed job, None if the transition changes nothing.

        Raises:
            NewerRecord: This version claims the judging of a job that a newer version of Errata wrote.
        """
        tx.prefetch(JOBS.command(job_id), waiting_command(job_id))
        before = tx.job(job_id)
        job = before and transition(before, tx.now, *args, **kwargs)
        if before is None or job is None:
            return None
        if job.judging_token != before.judging_token:
            tx.check_known(JOBS, job_id)
        _write_job(tx, before, job)
        return job

    @atomic
    def has_outbox_item(self, tx: JobTransaction, analysis_id: str) -> bool:
        """Return whether the result of an analysis is still to be written back. A deletion also deletes its item."""
        return tx.outbox_item(analysis_id) is not None

    @atomic
    def next_outbox_item(self, tx: JobTransaction, lease: float) -> OutboxItem | None:
        """Lease the next due outbox item whose analysis has ended, for `lease` seconds; return None if none is due.

        An analysis that a registry requested enters the outbox in the step that accepts it. An item is due
        again when its lease ends, unless it was deleted before.
        """
        if due := texts(tx.read("ZRANGEBYSCORE", f"{PREFIX}owed", "-inf", format_time(tx.now))):
            open_analyses = set(texts(tx.read("ZRANGE", f"{PREFIX}open:analyses", 0, -1, check=False)))
            for analysis_id in due:
                if analysis_id not in open_analyses and (item := tx.outbox_item(analysis_id)):
                    tx.update_outbox_item(item, tx.now + lease)
                    return item
        return None

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

    @atomic
    def lease_registry(self, tx: JobTransaction, registry: str, holder: str, lease: float) -> bool:
        """Lease the write-backs to a registry for `lease` seconds; return False if another holder has the lease."""
        if tx.get(f"owed:lease:{registry}") not in ("", holder):
            return False
        tx.write("SET", f"{PREFIX}owed:lease:{registry}", holder, "EX", round(lease))
        return True

    @atomic
    def release_registry(self, tx: JobTransaction, registry: str, holder: str) -> None:
        """End the lease of a registry, unless another holder has it by now."""
        if tx.get(f"owed:lease:{registry}") == holder:
            tx.write("DEL", f"{PREFIX}owed:lease:{registry}")

    def mark_lost_messages(self, empty_queues: Collection[str]) -> Sequence[tuple[str, int | None]]:
        """Return the jobs and shards whose message is lost, and mark their messages as sent now.

        Args:
            empty_queues: The queues that a consumer found empty at its last fetch.

        Returns:
            Pairs of a job and a shard. The shard is None if the message for the judging of the job is lost.
        """
        lost = list[tuple[str, int | None]]()
        if MODELS in empty_queues:
            mark_shard = partial(self.change_shard, partial(transitions.mark_lost, heartbeat=self.heartbeat_timeout))
            lost += [at for at in self._find_lost_shards() if read_or_none(mark_shard, *at)]
        if JUDGING in empty_queues:
            mark = partial(self.change_job, partial(transitions.mark_judging_lost, heartbeat=self.heartbeat_timeout))
            lost += [(job_id, None) for job_id in self._find_predicted_jobs() if read_or_none(mark, job_id)]
        return lost

    @atomic
    def _find_lost_shards(self, tx: JobTransaction) -> list[ShardKey]:
        open_shards = list(records.shards_of(tx.members("open:models")))
        tx.prefetch(*(shard_command(*at) for at in open_shards))
        is_lost = partial(transitions.is_lost, now=tx.now, heartbeat=self.heartbeat_timeout)
        return [at for at in open_shards if (shard := read_or_none(tx.shard, *at)) is not None and is_lost(shard)]

    @atomic
    def _find_predicted_jobs(self, tx: JobTransaction) -> list[str]:
        """Return the open jobs whose shards are all done."""
        tx.prefetch(*map(members_command, ("open:models", "open:jobs")))
        incomplete = {job_id for job_id, _ in records.shards_of(tx.members("open:models"))}
        return [job_id for job_id in tx.members("open:jobs") if job_id not in incomplete]


def _find_before(tx: JobTransaction, request_id: str, digest: str, delivery: str) -> Submission | None:
    """Return the submission of an earlier request or delivery; None if there is none."""
    if delivery and (analysis := tx.get(f"delivery:{delivery}")):
        return Submission(Outcome.REPEATED, analysis)
    before = tx.request(request_id) if request_id else None
    return before and Submission(Outcome.REPEATED if before[0] == digest else Outcome.REUSED, before[1])


def _accept(tx: JobTransaction, record: AnalysisRecord, spec: JobSpec, limit: int, owner_limit: int) -> Submission:
    """Add an open analysis to an open job with the same inputs or a new job, unless a limit is reached."""
    num_open = int(number(tx.read("ZCARD", f"{PREFIX}open:analyses")))
    if num_open >= limit:
        return Submission(Outcome.FULL, open=num_open)
    if owner_limit and (num_own := _count_open(tx, record.owner)) >= owner_limit:
        return Submission(Outcome.OWNER_FULL, open=num_own)
    joined = None if spec.fresh else _find_joinable(tx, spec)
    job = joined or JobStatus(
        uuid.uuid4().hex, spec.num_shards, spec.num_shards, spec.dedupe_key, created=tx.now, owner=record.owner
    )
    if joined is None:
        tx.add_job(job, spec)
    tx.add_record(record, job)
    if record.needs_write_back:
        tx.add_to_outbox(record.id)
    tx.bind(record.request.request_id, record.request_digest, record.delivery, record.id, is_open=True)
    return Submission(Outcome.JOINED if joined else Outcome.NEW, record.id, job.id, num_open + 1)


def _count_open(tx: JobTransaction, owner: str) -> int:
    """Return the number of open analyses of an owner. The owner of an analysis never changes."""
    commands = [ANALYSES.command(analysis_id) for analysis_id in tx.members("open:analyses")]
    tx.prefetch(*commands)
    return sum(records.owner_of(tx.read(*command, check=False)) == owner for command in commands)


def _find_joinable(tx: JobTransaction, spec: JobSpec) -> JobStatus | None:
    """Return the open job with the same inputs; None if there is none, or if this version cannot read it."""
    job_id = tx.get(f"dedupe:{spec.dedupe_key}")
    job = read_or_none(records.read_head, job_id, tx.read(*JOBS.command(job_id))) if job_id else None
    return job if job is not None and job.can_be_joined else None


def _find_job(tx: JobTransaction, job_id: str) -> JobStatus | None:
    """Return the status of a job; if its record is damaged, a status with which its open shards can be ended."""
    try:
        return tx.job(job_id)
    except DamagedRecord:
        indices = [index for job, index in records.shards_of(tx.members("open:models")) if job == job_id]
        return JobStatus(job_id, max(indices, default=-1) + 1, 0, "", tx.now)


def _write_job(tx: JobTransaction, before: JobStatus, job: JobStatus) -> None:
    """Store the changes of a job, and update the analyses that wait for it."""
    analyses = tx.waiting(job.id) if job.state is not before.state else []
    if analyses:
        tx.prefetch(*map(ANALYSES.command, analyses), ("GET", f"{PREFIX}dedupe:{job.dedupe_key}"))
    tx.update_job(job)
    for analysis_id in analyses:
        record, state, failure = None, job.state, job.failure
        try:
            record = tx.record(analysis_id)
            if state is State.SUCCEEDED:
                records.read_record(analysis_id, tx.read(*ANALYSES.command(analysis_id)))
        except DamagedRecord as error:  # it ends with its job, or it would count as open forever, but has no result
            if state.is_final:
                record = record or RecordStatus(analysis_id, before.state, job.id)
            if state is State.SUCCEEDED:
                state, failure = State.FAILED, transitions.failure_of(error)
        if record is not None:
            tx.set_state(record, state, failure)


def _delete_unused_job(tx: JobTransaction, job_id: str, deleted: set[str]) -> None:
    """Delete a job that has ended if no analysis refers to it except deleted ones; a started job after ENDING_SECONDS.

    Without the job, the last write of its workers would count as one after the lease had expired.
    """
    job = read_or_none(tx.job, job_id)
    if job is None or not job.state.is_final or job.may_be_archived:  # a judge needs the job to notice a deletion
        return
    tx.remove_waiting(job_id, deleted)
    if deleted.issuperset(tx.waiting(job_id)):
        if job.started is not None:
            tx.expire_job(job, ENDING_SECONDS)
        else:
            tx.delete_job(job)


def _find_excess(tx: JobTransaction, known_owners: dict[str, str]) -> list[str]:
    """Return the ended analyses beyond MAX_FINISHED: those that expired, then the oldest of the owner with the most.

    Otherwise, one owner could delete the analyses of all others by ending many. `known_owners` has the owners of the
    ended analyses that the last call found; it is changed to those of this call.
    """
    if not tx.read("ZRANGE", f"{PREFIX}finished", 0, -1 - transitions.MAX_FINISHED):
        return []
    ended = dict(tx.scores("finished", check=False))
    expired = [id for id, end_time in ended.items() if end_time <= tx.now - FINISHED_TTL]
    owners = {id: owner for id in ended if (owner := known_owners.get(id)) is not None}
    unknown = {id: ANALYSES.command(id) for id in ended.keys() - owners.keys()}
    tx.prefetch(*unknown.values())
    owners |= {id: records.owner_of(tx.read(*command, check=False)) for id, command in unknown.items()}
    known_owners.clear()
    known_owners.update(owners)
    by_owner: dict[str, list[str]] = {}
    for id in list(ended)[len(expired) :]:  # oldest first
        by_owner.setdefault(owners[id], []).append(id)
    num_excess = len(ended) - transitions.MAX_FINISHED - len(expired)
    return expired + [max(by_owner.values(), key=len).pop(0) for _ in range(num_excess)]

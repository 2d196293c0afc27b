"""The records of jobs and analyses in a key-value store, and one atomic step that reads and changes them.

errata:analysis:{id}      hash    entry (the record, JSON), request_id, job, state, failure (JSON), ended
errata:job:{id}           hash    spec (JSON), dedupe, created, state, shards, left, started, judge_fence, failure,
                                  sent, may_be_archived, owner
errata:job:{id}:analyses  set     the analyses that wait for the job
errata:shard:{id}:{k}     hash    state, fence, lease, worker, began, crashes, retries, retry_at, done, sent
errata:part:{id}:{k}      string  a shard's predictions, npz
errata:request:{id}       hash    digest of the body, and the analysis
errata:delivery:{key}     string  the analysis of a registry's delivery; TTL two days
errata:dedupe:{digest}    string  the open job of a computation
errata:analyses           zset    all analyses in the store, by creation time
errata:finished           zset    at most 1,000 failed and canceled analyses, by end time
errata:open:analyses      zset    analyses that are not final, by creation time
errata:open:jobs          zset    jobs that are not final, by creation time
errata:open:models        zset    shards that are not done, by creation time of their job; autoscaling counts them
errata:leases             zset    running shards, by the end of their lease
errata:retries            zset    shards that wait for a retry, by its time
errata:images:{digest}    string  image names, compressed
errata:classes:{digest}   string  classes of a label space, compressed (domain/class_table.py)
errata:predictions:{key}  string  cached predictions of a shard by weights, transform and images, npz
errata:result:{key}       string  the archived analysis that has the result of a computation and a bundle
errata:archive            string  the id of the archive that belongs to this store
errata:requests:{token}   string  rate limit of a token, a time (service/quotas.py); TTL a minute
errata:workers            zset    workers, by last heartbeat
errata:offers:{worker}    string  the offer of a worker (JSON)
errata:offers             string  the latest offer (JSON)
errata:owed               zset    outbox: analyses whose result must be written back to a registry, by due time
errata:owed:tries         hash    outbox: failed attempts
errata:owed:lease:{id}    string  outbox: the process that writes to a registry; TTL a minute
errata:turns              zset    owners, by the last time at which a worker took a shard of theirs
errata:refused            string  number of refused writes by workers whose lease was lost
errata:crashes            string  number of shards whose lease expired
errata:dead               zset    messages that the engine dropped, by time

Records, specs, and offers are JSON with a schema version (domain/schema_version.py), so that two versions of Errata can
share a store. Versions without `leases` and `retries` ignore them. Final analyses have a TTL of a week, and at most
1,000 of them are stored. Cached predictions have a TTL of a month. Other keys have no TTL, so that Redis does not evict
them.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from errata.errors import DamagedRecord

from service.domain import Failure, State
from service.jobs import records
from service.jobs.records import ANALYSES, JOBS, SHARDS, Table
from service.jobs.transitions import AnalysisRecord, JobSpec, JobStatus, OutboxItem, RecordStatus, Shard
from service.key_value.commands import PREFIX, Command, format_time, number, pairs, texts, values
from service.key_value.store import Transaction

FINISHED_TTL = 7 * 86_400  # seconds; TTL of failed and canceled analyses, and of their request IDs
DELIVERY_TTL = 2 * 86_400  # seconds
CHUNK = 1000  # members of one command


def shard_command(job_id: str, index: int) -> Command:
    """Return the command that reads a shard."""
    return SHARDS.command(f"{job_id}:{index}")


def members_command(name: str) -> Command:
    """Return the command that reads the members of a sorted set."""
    return "ZRANGE", PREFIX + name, 0, -1


def scores_command(name: str) -> Command:
    """Return the command that reads the members of a sorted set with their scores."""
    return *members_command(name), "WITHSCORES"


def waiting_command(job_id: str) -> Command:
    """Return the command that reads the analyses that wait for a job. The reply is sorted."""
    return "SMEMBERS", f"{PREFIX}job:{job_id}:analyses"


class JobTransaction(Transaction):
    """An atomic step that reads and changes the records of jobs and analyses."""

    ends_analyses = False  # whether analyses fail or are canceled in this step

    def remove_waiting(self, job_id: str, analyses: Iterable[str]) -> None:
        """Remove analyses from the set of analyses that wait for a job."""
        for members in _chunks(sorted(analyses)):
            self.write("SREM", f"{PREFIX}job:{job_id}:analyses", *members)

    def record(self, analysis_id: str) -> RecordStatus | None:
        """Return the status of an analysis."""
        return ANALYSES.read(analysis_id, self.read(*ANALYSES.command(analysis_id)))

    def job(self, job_id: str) -> JobStatus | None:
        """Return the status of a job."""
        return JOBS.read(job_id, self.read(*JOBS.command(job_id))) if job_id else None

    def shard(self, job_id: str, index: int, *, check: bool = True) -> Shard | None:
        """Return a shard."""
        return SHARDS.read(f"{job_id}:{index}", self.read(*shard_command(job_id, index), check=check))

    def waiting(self, job_id: str, *, check: bool = True) -> list[str]:
        """Return the ids of the analyses that wait for a job, in order."""
        return texts(self.read(*waiting_command(job_id), check=check))

    def members(self, name: str) -> list[str]:
        """Return the members of a sorted set, the member with the lowest score first."""
        return texts(self.read(*members_command(name)))

    def scores(self, name: str, *, check: bool = True) -> list[tuple[str, float]]:
        """Return the members of a sorted set with their scores, lowest first."""
        return pairs(self.read(*scores_command(name), check=check))

    def note_time(self, name: str, member: str, ttl: float) -> None:
        """Set the score of a member of a sorted set to the time; remove the members that are older than the TTL."""
        self.write("ZADD", PREFIX + name, format_time(self.now), member)
        self.write("ZREMRANGEBYSCORE", PREFIX + name, "-inf", format_time(self.now - ttl))

    def live_workers(self, timeout: float) -> list[str]:
        """Return the workers that have sent a heartbeat during the last `timeout` seconds."""
        return [worker for worker, heartbeat in self.scores("workers") if heartbeat > self.now - timeout]

    def request(self, request_id: str) -> tuple[str, str] | None:
        """Return the digest and the analysis of a request ID."""
        digest, analysis = texts(self.read("HMGET", f"{PREFIX}request:{request_id}", "digest", "analysis"))
        return (digest, analysis) if digest and analysis else None

    def bind(self, request_id: str, digest: str, delivery: str, analysis_id: str, *, is_open: bool) -> None:
        """Bind a request ID and a delivery, if any, to an analysis. Unless `is_open`, give the request ID a TTL."""
        if request_id:
            key = f"{PREFIX}request:{request_id}"
            self.write("HSET", key, "digest", digest, "analysis", analysis_id)
            self.write(*(("PERSIST", key) if is_open else ("EXPIRE", key, FINISHED_TTL)))
        if delivery:
            self.write("SET", f"{PREFIX}delivery:{delivery}", analysis_id, "EX", DELIVERY_TTL)

    def release_request_id(self, request_id: str, analysis_id: str) -> None:
        """Release the request ID of an analysis, unless the ID is bound to another analysis."""
        before = self.request(request_id) if request_id else None
        if before is not None and before[1] == analysis_id:
            self.write("DEL", f"{PREFIX}request:{request_id}")

    def check_known(self, table: Table[Any], id: str) -> None:
        """Raise NewerRecord if a newer version of Errata wrote a document. Its reader reports a damaged one."""
        with suppress(DamagedRecord):
            table.read_constant(id, self.read(*table.command(id)))

    def add_record(self, record: AnalysisRecord, job: JobStatus) -> None:
        """Add an open analysis that waits for a job, or replace one that has failed."""
        key, now = f"{PREFIX}analysis:{record.id}", format_time(self.now)
        self.write("SADD", f"{PREFIX}job:{job.id}:analyses", record.id)
        status = RecordStatus(record.id, job.state, job.id, record.request.request_id)
        self.write("HSET", key, "entry", records.record_json(record), *ANALYSES.format(status))
        self.write("PERSIST", key)
        self.write("ZADD", f"{PREFIX}open:analyses", now, record.id)
        self.write("ZADD", f"{PREFIX}analyses", now, record.id)
        self.write("ZREM", f"{PREFIX}finished", record.id)

    def set_state(self, record: RecordStatus, state: State, failure: Failure | None) -> None:
        """Set the state of an analysis. If it has ended, the analysis and its request ID get a TTL.

        If it has succeeded, its record is deleted, because the archive has the analysis.
        """
        key, ended = f"{PREFIX}analysis:{record.id}", self.now if state.is_final else None
        self.write("HSET", key, *ANALYSES.format(replace(record, state=state, failure=failure, ended=ended)))
        if ended is not None:
            self.ends_analyses |= state is not State.SUCCEEDED
            self.write("EXPIRE", key, FINISHED_TTL)
            self.write("ZREM", f"{PREFIX}open:analyses", record.id)
            self.write("ZADD", f"{PREFIX}finished", format_time(ended), record.id)
            if record.request_id:
                self.write("EXPIRE", f"{PREFIX}request:{record.request_id}", FINISHED_TTL)
        if state is State.SUCCEEDED:
            self.delete_record(record.id)

    def delete_record(self, analysis_id: str) -> None:
        """Delete an analysis that has ended, but not its request ID."""
        self.write("DEL", f"{PREFIX}analysis:{analysis_id}")
        self.write("ZREM", f"{PREFIX}analyses", analysis_id)
        self.write("ZREM", f"{PREFIX}finished", analysis_id)

    def add_job(self, job: JobStatus, spec: JobSpec) -> None:
        """Add a job whose shards are all queued. Unless it is fresh, other analyses can join it."""
        created = format_time(job.created)
        self.write("HSET", f"{PREFIX}job:{job.id}", "spec", records.spec_json(spec), *JOBS.format(job))
        fields = SHARDS.format(Shard(sent=job.created))
        for index in range(job.num_shards):
            self.write("HSET", f"{PREFIX}shard:{job.id}:{index}", *fields)
        for members in _chunks([f"{job.id}:{index}" for index in range(job.num_shards)]):
            self.write("ZADD", f"{PREFIX}open:models", *(part for member in members for part in (created, member)))
        self.write("ZADD", f"{PREFIX}open:jobs", created, job.id)
        if not spec.fresh:
            self.write("SET", f"{PREFIX}dedupe:{spec.dedupe_key}", job.id)

    def update_job(self, job: JobStatus) -> None:
        """Store the status of a job. If it has ended, close it."""
        self.write("HSET", f"{PREFIX}job:{job.id}", *JOBS.format(job))
        if job.state.is_final:
            self._close_job(job)

    def _close_job(self, job: JobStatus) -> None:
        """Delete the data that only an open job needs. Delete a succeeded job; give any other job a TTL."""
        if self.get(f"dedupe:{job.dedupe_key}") == job.id:
            self.write("DEL", f"{PREFIX}dedupe:{job.dedupe_key}")
        self.write("ZREM", f"{PREFIX}open:jobs", job.id)
        for members in _chunks([f"{job.id}:{index}" for index in range(job.num_shards)]):
            for name in ("open:models", "leases", "retries"):
                self.write("ZREM", PREFIX + name, *members)
            self.write("DEL", *(f"{PREFIX}part:{member}" for member in members))
        if job.state is State.SUCCEEDED:
            self.delete_job(job)
        else:
            self.expire_job(job, FINISHED_TTL)

    def expire_job(self, job: JobStatus, ttl: int) -> None:
        """Give a job with its shards a TTL in seconds."""
        for key in _job_keys(job):
            self.write("EXPIRE", key, ttl)

    def delete_job(self, job: JobStatus) -> None:
        """Delete a job with its shards."""
        for keys in _chunks(_job_keys(job)):
            self.write("DEL", *keys)

    def update_shard(self, job_id: str, index: int, shard: Shard) -> None:
        """Store a shard."""
        member = f"{job_id}:{index}"
        self.write("HSET", f"{PREFIX}shard:{member}", *SHARDS.format(shard))
        if shard.state is State.SUCCEEDED:
            self.write("ZREM", f"{PREFIX}open:models", member)
        self._set_member("leases", member, shard.lease if shard.state is State.RUNNING else None)
        is_waiting = shard.state is State.QUEUED and shard.retry_at > self.now
        self._set_member("retries", member, shard.retry_at if is_waiting else None)

    def _set_member(self, name: str, member: str, time: float | None) -> None:
        """Set the time of a member of a sorted set, or remove the member."""
        score = () if time is None else (format_time(time),)
        self.write("ZADD" if score else "ZREM", PREFIX + name, *score, member)

    def outbox_item(self, analysis_id: str) -> OutboxItem | None:
        """Return the outbox item of an analysis."""
        if self.read("ZRANK", f"{PREFIX}owed", analysis_id) is None:
            return None
        (attempts,) = values(self.read("HMGET", f"{PREFIX}owed:tries", analysis_id))
        return OutboxItem(analysis_id, int(number(attempts)), self.job_id(analysis_id))

    def job_id(self, analysis_id: str) -> str:
        """Return the id of the job of an analysis; empty if the store does not have the analysis."""
        (job,) = texts(self.read("HMGET", f"{PREFIX}analysis:{analysis_id}", "job"))
        return job

    def add_to_outbox(self, analysis_id: str) -> None:
        """Add an outbox item that is due now."""
        self.write("ZADD", f"{PREFIX}owed", format_time(self.now), analysis_id)
        self.write("HDEL", f"{PREFIX}owed:tries", analysis_id)

    def update_outbox_item(self, item: OutboxItem, due_at: float) -> None:
        """Store an outbox item, unless it is deleted meanwhile."""
        self.write("ZADD", f"{PREFIX}owed", "XX", format_time(due_at), item.analysis)
        self.write("HSET", f"{PREFIX}owed:tries", item.analysis, item.attempts)

    def delete_outbox_item(self, analysis_id: str) -> None:
        """Delete the outbox item of an analysis."""
        self.write("HDEL", f"{PREFIX}owed:tries", analysis_id)
        self.write("ZREM", f"{PREFIX}owed", analysis_id)


def _chunks(names: list[str]) -> list[list[str]]:
    return [names[start : start + CHUNK] for start in range(0, len(names), CHUNK)]


def _job_keys(job: JobStatus) -> list[str]:
    shards = [f"{PREFIX}shard:{job.id}:{index}" for index in range(job.num_shards)]
    return [f"{PREFIX}job:{job.id}", f"{PREFIX}job:{job.id}:analyses", *shards]

"""The order in which workers take shards: one owner after the other, so that no owner waits for all shards of another.

A message of the engine says only that some shard is available. The worker that receives the message takes the shard
whose turn it is. The message of that shard, which arrives later, then leads a worker to another shard.
"""

from collections.abc import Callable, Collection, Mapping

from service.domain import State
from service.jobs import records
from service.jobs.records import JOBS, ShardKey, read_or_none
from service.jobs.transaction import JobTransaction, scores_command, shard_command, waiting_command
from service.jobs.transitions import Job, JobSpec, is_available
from service.key_value.commands import PREFIX, Command, texts

TURN_SECONDS = 86_400.0  # an owner that has waited longer for a shard counts as new
_NEVER = float("-inf")
_SHARD_TIMES = "open:models", "leases", "retries"  # the sorted sets with times of shards


def next_shard(
    tx: JobTransaction, message: ShardKey, can_run: Callable[[JobSpec], bool], known_owners: dict[str, str]
) -> tuple[Job, int] | None:
    """Return the job and the index of the shard that a worker should claim; None if no shard is available.

    The job has neither its shards nor its analyses.

    Args:
        tx: A transaction.
        message: The shard whose message the worker received.
        can_run: Returns whether the worker can run a job.
        known_owners: The owners of the jobs that the last call found; changed to those of this call. The owner of a
            job never changes.
    """
    tx.prefetch(*_claim_commands(*message), *map(scores_command, (*_SHARD_TIMES, "turns")))
    created, leases, retries = (
        {shard: time for member, time in tx.scores(name, check=False) for shard in records.shards_of([member])}
        for name in _SHARD_TIMES
    )
    created.setdefault(message, tx.now)  # if the index is damaged, it may lack the shard of the message
    since = {at: time for at, time in created.items() if max(leases.get(at, 0), retries.get(at, 0)) <= tx.now}
    expired = since.keys() & leases.keys()
    open_jobs = {job for job, _ in since}
    owners = {job: owner for job in open_jobs if (owner := known_owners.get(job)) is not None}
    owner_commands: dict[str, Command] = {
        job: ("HMGET", f"{PREFIX}job:{job}", "owner") for job in open_jobs - owners.keys()
    }
    tx.prefetch(*owner_commands.values(), *(shard_command(*at) for at in expired))
    owners |= {job: texts(tx.read(*command, check=False))[0] for job, command in owner_commands.items()}
    known_owners.clear()
    known_owners.update(owners)
    dead = set()  # the shards whose first worker has died
    for at in expired:
        shard = read_or_none(tx.shard, *at, check=False)
        if shard is not None and shard.crashes:
            since[at] = leases[at]
        elif shard is not None and shard.state is State.RUNNING:
            dead.add(at)

    jobs: dict[str, Job | None] = {}  # the jobs of the shards so far, None if the worker cannot run the job
    for at in order_shards(since, dead, owners, dict(tx.scores("turns", check=False)), message):
        id, index = at
        if id not in jobs:
            if len(jobs) < 2:  # usually, the worker can run the first job; if not, all others are read at once
                tx.prefetch(*(map(JOBS.command, owners) if jobs else _claim_commands(*at)))
            job = read_or_none(records.read_head, id, tx.read(*JOBS.command(id), check=False))
            jobs[id] = job if job is not None and can_run(job.spec) else None
        if (job := jobs[id]) is not None:
            tx.prefetch(*_claim_commands(*at))
            shard = read_or_none(tx.shard, *at, check=False)
            if shard is not None and is_available(job, shard, tx.now):
                return job, index
    return None


def _claim_commands(job_id: str, index: int) -> tuple[Command, ...]:
    """Return the commands whose replies a claim of a shard needs."""
    return shard_command(job_id, index), JOBS.command(job_id), waiting_command(job_id)


def order_shards(
    since: Mapping[ShardKey, float],
    dead: Collection[ShardKey],
    owners: Mapping[str, str],
    turns: Mapping[str, float],
    message: ShardKey,
) -> list[ShardKey]:
    """Return shards in the order of their turns: the owner who waited longest first, then the oldest job first.

    Within a job, the order starts at the index of the message and wraps around, so that workers rarely compete.

    Args:
        since: For each shard, the creation of its job, or the end of its lease if it has crashed two workers.
        dead: Shards that precede all others, because their first worker has died.
        owners: The owner of each job.
        turns: The time of the last turn of each owner.
        message: The shard of the message.
    """
    first: dict[str, float] = {}
    for (job, _), time in since.items():
        first[owners[job]] = min(time, first.get(owners[job], time))

    def turn(at: ShardKey) -> tuple[bool, float, float, str, float, str, bool, int]:
        job, index = at
        owner, is_before = owners[job], index < message[1]
        return at not in dead, turns.get(owner, _NEVER), first[owner], owner, since[at], job, is_before, index

    return sorted(since, key=turn)

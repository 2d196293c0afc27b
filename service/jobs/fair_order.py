"""The order in which workers take shards: one owner after the other, so that no owner waits for all shards of another.

A message of the engine says only that some shard is available. The worker that receives the message takes the shard
whose turn it is. The message of that shard, which arrives later, then leads a worker to another shard.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from errata.errors import DamagedRecord, NewerRecord

from service.domain import State
from service.jobs import records
from service.jobs.transaction import JobTransaction, shard_command
from service.jobs.transitions import JobSpec, JobStatus, available_at
from service.key_value.commands import PREFIX, Reply, format_time, pairs, text_of, time_of, values

TURN_SECONDS = 86_400.0  # an owner that has waited longer for a shard counts as new
_NEVER = float("-inf")
_SETS = "open:models", "leases", "retries", "turns"
Read = Callable[..., Sequence[Reply]]  # returns the replies to reading commands


@dataclass(frozen=True)
class QueuedShard:
    """A shard that no worker has claimed."""

    created: float
    job: str
    index: int


def next_shard(read: Read, message: tuple[str, int], can_run: Callable[[JobSpec], bool]) -> tuple[str, int] | None:
    """Return the job and the index of the shard that a worker should claim; None: the shard of its message.

    Args:
        read: Returns the replies of reading commands.
        message: The job and the index of the shard whose message the worker received.
        can_run: Returns whether the worker can run a job.
    """
    commands = [("ZRANGE", PREFIX + name, 0, -1, "WITHSCORES") for name in _SETS]
    *replies, own, time = read(*commands, shard_command(*message), ("TIME",))
    now = time_of(time)
    opened, leases, retries, turns = map(pairs, replies)
    if _has_expired(message, own, now):  # no other message leads to a claim of this shard
        return None
    unavailable = {member for member, _ in leases} | {member for member, due in retries if due > now}
    queued = list(_queued(opened, unavailable))
    jobs = [*{shard.job: None for shard in queued}]
    job_replies = read(*(("HMGET", f"{PREFIX}job:{job}", "owner", "spec") for job in jobs))
    heads = {job: values(reply) for job, reply in zip(jobs, job_replies, strict=True)}
    owners = {job: text_of(owner) for job, (owner, _) in heads.items()}
    is_runnable = cache(lambda job: _can_run(job, heads[job][1], can_run))
    for shard in order_shards(queued, owners, dict(turns), message):
        if is_runnable(shard.job) and _is_queued(read, shard):
            return shard.job, shard.index
    return None


def order_shards(
    queued: Collection[QueuedShard], owners: Mapping[str, str], turns: Mapping[str, float], message: tuple[str, int]
) -> list[QueuedShard]:
    """Return shards in the order of their turns: the owner who waited longest first, then the oldest job first.

    The shard of the message comes first among those of its job, so that workers do not compete for one shard.

    Args:
        queued: The shards.
        owners: The owner of each job.
        turns: The time of the last turn of each owner.
        message: The job and the index of the shard of the message.
    """
    first: dict[str, float] = {}
    for shard in queued:
        first[owners[shard.job]] = min(shard.created, first.get(owners[shard.job], shard.created))

    def turn(shard: QueuedShard) -> tuple[float, float, str, float, str, bool, int]:
        owner, is_other = owners[shard.job], (shard.job, shard.index) != message
        return turns.get(owner, _NEVER), first[owner], owner, shard.created, shard.job, is_other, shard.index

    return sorted(queued, key=turn)


def note_turn(tx: JobTransaction, job: JobStatus) -> None:
    """Note the time at which a worker took a shard of a job, as the last turn of the job's owner."""
    tx.write("ZADD", f"{PREFIX}turns", format_time(tx.now), job.owner)
    tx.write("ZREMRANGEBYSCORE", f"{PREFIX}turns", "-inf", format_time(tx.now - TURN_SECONDS))


def _queued(opened: Sequence[tuple[str, float]], unavailable: Collection[str]) -> Iterator[QueuedShard]:
    for member, created in opened:
        if member not in unavailable:
            for job, index in records.shards_of([member]):
                yield QueuedShard(created, job, index)


def _has_expired(message: tuple[str, int], reply: Reply, now: float) -> bool:
    """Return whether the shard of a message has crashed its worker and may now run again."""
    shard = records.find_shard(message[0], reply)
    return shard is not None and shard.state is State.RUNNING and available_at(shard) <= now


def _is_queued(read: Read, shard: QueuedShard) -> bool:
    """Return whether a shard is queued. A shard that crashed its worker is not: it waits for its own message."""
    stored = records.find_shard(shard.job, read(shard_command(shard.job, shard.index))[0])
    return stored is not None and stored.state is State.QUEUED


def _can_run(job: str, spec: bytes | None, can_run: Callable[[JobSpec], bool]) -> bool:
    with suppress(DamagedRecord, NewerRecord):
        return can_run(records.read_spec(job, spec))
    return False

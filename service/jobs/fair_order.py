"""The order in which workers take shards: one owner after the other, so that no owner waits for all shards of another.

A message of the engine says only that some shard is available. The worker that receives the message takes the shard
whose turn it is. The message of that shard, which arrives later, then leads a worker to another shard.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache

from service.domain import State
from service.jobs import records
from service.jobs.records import read_or_none
from service.jobs.transaction import JobTransaction, scores_command, shard_command
from service.jobs.transitions import JobSpec, available_at
from service.key_value.commands import PREFIX, Command, text_of, values

TURN_SECONDS = 86_400.0  # an owner that has waited longer for a shard counts as new
_NEVER = float("-inf")


@dataclass(frozen=True)
class QueuedShard:
    """A shard that no worker has claimed."""

    created: float
    job: str
    index: int


def next_shard(
    tx: JobTransaction, message: tuple[str, int], can_run: Callable[[JobSpec], bool]
) -> tuple[str, int] | None:
    """Return the job and the index of the shard that a worker should claim; None: the shard of its message.

    Args:
        tx: A transaction.
        message: The job and the index of the shard whose message the worker received.
        can_run: Returns whether the worker can run a job.
    """
    tx.prefetch(shard_command(*message), *map(scores_command, ("open:models", "leases", "retries", "turns")))
    own = read_or_none(tx.shard, *message)
    if own is not None and own.state is State.RUNNING and available_at(own) <= tx.now:
        return None  # it has crashed its worker, and no other message leads to a claim of this shard
    unavailable = {member for member, _ in tx.scores("leases")}
    unavailable |= {member for member, due in tx.scores("retries") if due > tx.now}
    queued = [
        QueuedShard(created, *shard)
        for member, created in tx.scores("open:models")
        if member not in unavailable
        for shard in records.shards_of([member])
    ]
    commands: dict[str, Command] = {
        shard.job: ("HMGET", f"{PREFIX}job:{shard.job}", "owner", "spec") for shard in queued
    }
    tx.prefetch(*commands.values())
    heads = {job: values(tx.read(*command)) for job, command in commands.items()}
    owners = {job: text_of(owner) for job, (owner, _) in heads.items()}

    @cache
    def is_runnable(job: str) -> bool:
        spec = read_or_none(records.read_spec, job, heads[job][1])
        return spec is not None and can_run(spec)

    for shard in order_shards(queued, owners, dict(tx.scores("turns")), message):
        stored = read_or_none(tx.shard, shard.job, shard.index) if is_runnable(shard.job) else None
        if stored is not None and stored.state is State.QUEUED:  # a crashed one waits for its own message
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

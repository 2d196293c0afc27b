"""Lost messages: those that the engine cannot deliver again. Pure functions.

The engine redelivers the messages of dead workers within a heartbeat. Other messages were never sent, were sent to a
worker that did not receive them, or were deleted.
"""

from dataclasses import replace

from service.domain import State
from service.jobs.transitions import FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS, JobStatus, Shard, Step, available_at


def mark_lost(job: JobStatus, shard: Shard, now: float, is_queue_empty: bool, heartbeat: float) -> Step[bool]:
    """Reply whether the message of a shard is lost; if so, note that it is sent again now."""
    is_lost = not job.state.is_final and is_shard_lost(shard, now, is_queue_empty, heartbeat)
    return Step(is_lost, job, replace(shard, sent=now) if is_lost else shard)


def judging_delay(attempts: int) -> float:
    """Return the delay in seconds before a job is judged again after a number of failed attempts."""
    return min(FIRST_RETRY_SECONDS * attempts, LAST_RETRY_SECONDS)


def is_shard_lost(shard: Shard, now: float, is_queue_empty: bool, heartbeat: float) -> bool:
    """Return whether the message of a shard is lost: never sent, sent to a worker that did not receive it, or deleted.

    The engine redelivers the messages of dead workers within a heartbeat. Therefore, the message of a queued shard is
    lost only if a consumer finds the queue empty some time later: until then, any message can make a worker take the
    shard. The message of a running shard is lost if no worker claims the shard for some time after its lease ends:
    a shard that has crashed workers repeatedly needs its own message, which a worker may have used for another shard.

    Args:
        shard: The shard.
        now: Seconds of the store's clock.
        is_queue_empty: Whether a consumer found the queue empty at its last fetch.
        heartbeat: Seconds without a heartbeat after which the engine considers a worker dead.
    """
    margin = heartbeat / 3
    if shard.state is State.QUEUED and shard.retry_at <= now:
        return is_queue_empty and now - shard.sent > margin
    if shard.state is State.RUNNING:
        return now - max(available_at(shard), shard.sent) > heartbeat + margin
    return False


def mark_judging_lost(job: JobStatus, now: float, heartbeat: float) -> JobStatus | None:
    """Note that the message for the judging of a job is sent again now; None if the message is not lost.

    The caller has checked that the queue is empty. A judge that waits for the archive sends its own message again,
    after a delay that grows with each attempt.
    """
    timeout = heartbeat / 3 if not job.judging_token else judging_delay(job.judging_token) + heartbeat * 2 / 3
    is_lost = not job.state.is_final and not job.num_shards_left and now - job.judging_sent > timeout
    return replace(job, judging_sent=now) if is_lost else None

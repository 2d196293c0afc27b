"""Numbers of open jobs, shards, and workers."""

from job_store_calls import claim_token, shard_result, submit
from manual_clock import Clock

from service.jobs import transitions
from service.jobs.base_store import Depth
from service.jobs.store import JobStore


def test_depth_counts_open_jobs_and_shards(store: JobStore, clock: Clock) -> None:
    job = submit(store, "a", created=clock.now).job
    submit(store, "b", created=clock.now)
    fencing_token = claim_token(store, job)
    clock.now += 7
    store.heartbeat("w9")

    assert store.depth() == depth(running_analyses=2, running_shards=1, queued_shards=2, oldest_running=7.0)
    store.change_shard(transitions.finish, job, 0, fencing_token, shard_result(4))
    store.change_shard(transitions.finish, job, 0, fencing_token + 5, shard_result(4))
    assert store.depth() == depth(running_analyses=2, queued_shards=2, oldest_running=7.0, refused=1)
    store.cancel("a", "")
    store.cancel("b", "")
    assert store.depth() == depth(refused=1)


def test_depth_distinguishes_queued_from_running_and_counts_crashes(store: JobStore, clock: Clock) -> None:
    job = submit(store, "a", created=clock.now).job
    clock.now += 3
    submit(store, "b", key="other", created=clock.now)
    store.heartbeat("w9")
    claim_token(store, job)
    clock.now += 25  # past the lease

    store.heartbeat("w9")
    claim_token(store, job)

    result = store.depth()
    assert (result.queued_analyses, result.running_analyses) == (1, 1)
    assert (result.oldest_queued, result.oldest_running) == (25.0, 28.0)
    assert result.crashes == 1
    assert store.memory_usage().used >= 0


def depth(**counts: float) -> Depth:
    """Return the depth of a store with one live worker, and these counts."""
    nothing = dict.fromkeys(
        ("queued_analyses", "running_analyses", "queued_shards", "running_shards", "refused", "crashes"), 0
    )
    return Depth(**{**nothing, "oldest_queued": 0.0, "oldest_running": 0.0, "workers": 1} | counts)  # type: ignore[arg-type]

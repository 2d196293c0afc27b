"""Lists of analyses, and their places in the queue."""

import pytest
from job_store_calls import DAY, OOPS, claim_token, record_ids, redis_store, resubmit, state_of, submit, submit_failed
from manual_clock import Clock
from redis_server import RedisServer

from service.domain import Failure, State
from service.jobs import transitions
from service.jobs.base_store import BATCH
from service.jobs.store import JobStore


@pytest.mark.slow
@pytest.mark.parametrize("count", [BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 5])
def test_records_that_need_several_calls_are_all_listed(store: JobStore, clock: Clock, count: int) -> None:
    for number in range(count):
        submit(store, f"a{number}")

    assert record_ids(store) == {f"a{number}" for number in range(count)}


def test_a_list_shows_retried_analyses_that_end_or_run_again(store: JobStore, clock: Clock) -> None:
    def listed() -> tuple[State, Failure | None, float | None, float]:
        (snapshot,) = store.snapshots()
        return snapshot.record.state, snapshot.record.failure, snapshot.record.ended, snapshot.now

    submit_failed(store)
    assert listed() == (State.FAILED, OOPS, clock.now, clock.now)
    ended_at = clock.now
    clock.advance(5)
    assert listed() == (State.FAILED, OOPS, ended_at, clock.now)

    submission = resubmit(store)
    assert submission is not None
    assert listed() == (State.QUEUED, None, None, clock.now)
    clock.advance(5)
    store.change_shard(
        transitions.fail, submission.job, 0, claim_token(store, submission.job), Failure("OTHER", "it broke again")
    )

    assert listed() == (State.FAILED, Failure("OTHER", "it broke again"), clock.now, clock.now)


def test_an_ended_analysis_never_shows_a_job_that_continues(store: JobStore, clock: Clock) -> None:
    job = submit(store, "a").job
    for id in "bc":
        submit(store, id)
    token = claim_token(store, job)

    def shown() -> dict[str, tuple[State, int | None]]:
        snapshots = store.snapshots()
        for listed in snapshots:
            assert store.snapshot(listed.record.id) == listed
        jobs = {snapshot.record.id: snapshot.job for snapshot in snapshots}
        return {id: (state_of(store, id), None if of is None else of.done) for id, of in jobs.items()}

    store.cancel("a", "")
    canceled = State.CANCELLED, None
    assert shown() == {"a": canceled, "b": (State.RUNNING, 0), "c": (State.RUNNING, 0)}
    store.change_shard(transitions.progress, job, 0, token, 3)
    assert shown() == {"a": canceled, "b": (State.RUNNING, 3), "c": (State.RUNNING, 3)}
    store.cancel("b", "")
    store.cancel("c", "")

    clock.advance(1)
    assert shown() == {"a": canceled, "b": canceled, "c": (State.CANCELLED, 3)}, "the job ended with the last analysis"


def test_a_list_shows_analyses_that_an_older_version_retried(server: RedisServer, clock: Clock) -> None:
    """An older version does not remove the analysis from `errata:finished`, which it does not know."""
    store, client = redis_store(server, clock), server.client()
    submit_failed(store)
    assert [snapshot.record.state for snapshot in store.snapshots()] == [State.FAILED]
    before = client.zrange("errata:finished", 0, -1, withscores=True)
    resubmit(store)
    client.zadd("errata:finished", dict(before))

    assert [snapshot.record.state for snapshot in store.snapshots()] == [State.QUEUED]
    clock.advance(8 * DAY)
    assert [snapshot.record.state for snapshot in store.snapshots()] == [State.QUEUED]


def test_the_queue_position_counts_earlier_open_jobs(store: JobStore, clock: Clock) -> None:
    for id in "abc":
        submit(store, id, key=id)
        clock.advance(1)

    def positions() -> dict[str, int]:
        return {snapshot.record.id: snapshot.queue_position for snapshot in store.snapshots()}

    assert positions() == {"a": 0, "b": 1, "c": 2}
    store.cancel("a", "")
    assert {id: place for id, place in positions().items() if id != "a"} == {"b": 0, "c": 1}

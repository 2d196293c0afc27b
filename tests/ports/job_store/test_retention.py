"""Ended analyses are deleted after a week, and beyond a limit."""

import pytest
from errata.errors import Unavailable
from job_store_calls import (
    DAY,
    OOPS,
    claim_judging,
    claim_token,
    get_job,
    outbox_item,
    pass_time,
    record_ids,
    resubmit,
    run_all,
    shard_result,
    spec,
    state_of,
    submit,
    submit_failed,
)
from manual_clock import Clock
from redis_job_store import RedisJobStore
from redis_server import RedisServer

from service.domain import State
from service.jobs import transitions
from service.jobs.store import ENDING_SECONDS, JobStore, Outcome
from service.key_value.redis_backend import connect


def test_only_ended_analyses_can_be_deleted(store: JobStore) -> None:
    submit(store, "a")
    assert store.delete("a") is False
    store.cancel("a", "")

    assert store.delete("a") is True
    assert store.delete("a") is False
    assert store.snapshot("a") is None


@pytest.mark.parametrize("end", ["cancelled", "failed"])
def test_analyses_that_ended_a_week_ago_are_deleted_by_the_next_submission(
    store: JobStore, clock: Clock, end: str
) -> None:
    job = submit(store, "old", request_id="r").job
    if end == "cancelled":
        store.cancel("old", "")
    else:
        store.change_shard(transitions.fail, job, 0, claim_token(store, job), OOPS)
    pass_time(store, clock, 7 * DAY + 60)

    submit(store, "new", key="new", created=clock.now)

    assert store.snapshot("old") is None
    assert store.job(job) is None
    assert [snapshot.record.id for snapshot in store.snapshots()] == ["new"]
    assert submit(store, "repeated", key="repeated", request_id="r", body="another").outcome is Outcome.NEW


def test_recently_ended_and_open_analyses_are_not_deleted(store: JobStore, clock: Clock) -> None:
    submit(store, "open", key="open", created=clock.now)
    pass_time(store, clock, 30 * DAY)
    submit(store, "old", key="old", request_id="r", created=clock.now)
    store.cancel("old", "")
    pass_time(store, clock, 6 * DAY)

    submit(store, "new", key="new", created=clock.now)

    assert {snapshot.record.id for snapshot in store.snapshots()} == {"open", "old", "new"}
    assert submit(store, "repeated", request_id="r").analysis == "old"


def finish_many(store: JobStore, clock: Clock, count: int, first: int = 0) -> None:
    """Submit analyses m0, m1, … that end one after the other, cancelled and failed alternately."""
    for number in range(first, first + count):
        clock.advance(1)
        job = submit(store, f"m{number}", key=f"k{number}", request_id=f"r{number}", created=clock.now).job
        if number % 2:
            store.cancel(f"m{number}", "")
        else:
            store.change_shard(transitions.fail, job, 0, claim_token(store, job), OOPS)


@pytest.fixture
def five(monkeypatch: pytest.MonkeyPatch, store: JobStore) -> JobStore:
    """Return a store with a limit of five ended analyses."""
    monkeypatch.setattr(transitions, "MAX_FINISHED", 5)
    return store


def test_beyond_the_limit_the_oldest_ended_analyses_are_deleted(five: JobStore, clock: Clock) -> None:
    finish_many(five, clock, 8)

    assert record_ids(five) == {"m3", "m4", "m5", "m6", "m7"}
    assert five.snapshot("m2") is None


def test_an_owner_with_many_ended_analyses_does_not_displace_those_of_others(five: JobStore, clock: Clock) -> None:
    for owner, number in (("alice", 0), ("alice", 1), *(("bob", number) for number in range(9)), ("carol", 0)):
        clock.advance(1)
        submit(five, f"{owner}{number}", key=f"{owner}{number}", owner=owner)
        five.cancel(f"{owner}{number}", "")

    assert record_ids(five) == {"alice0", "alice1", "bob7", "bob8", "carol0"}


def test_the_end_time_decides_and_not_the_time_of_submission(five: JobStore, clock: Clock) -> None:
    submit(five, "long", key="long", created=clock.now)
    finish_many(five, clock, 8)
    assert record_ids(five) == {"long", "m3", "m4", "m5", "m6", "m7"}, "open analyses are not counted"

    five.cancel("long", "")

    assert record_ids(five) == {"long", "m4", "m5", "m6", "m7"}


def test_an_analysis_deleted_beyond_the_limit_leaves_no_keys(five: JobStore, clock: Clock) -> None:
    clock.advance(1)
    job = submit(five, "first", key="first", request_id="r", body="one").job
    five.change_shard(transitions.fail, job, 0, claim_token(five, job), OOPS)
    finish_many(five, clock, 5)

    assert record_ids(five) == {"m0", "m1", "m2", "m3", "m4"}
    pass_time(five, clock, ENDING_SECONDS)
    assert five.job(job) is None
    if isinstance(five, RedisJobStore):
        assert [key for key in five.client.scan_iter() if job.encode() in key or b"first" in key] == []
    assert submit(five, "repeated", key="repeated", request_id="r", body="another").outcome is Outcome.NEW


@pytest.mark.parametrize("end", ["cancelled", "failed"])
def test_a_deleted_analysis_leaves_its_job_only_if_another_refers_to_it(
    store: JobStore, clock: Clock, end: str
) -> None:
    job = submit(store, "a").job
    submit(store, "b")
    if end == "failed":
        store.change_shard(transitions.fail, job, 0, claim_token(store, job), OOPS)
    else:
        store.cancel("a", "")
        store.cancel("b", "")

    store.delete("a")
    assert get_job(store, job).analyses == {"b"}
    store.delete("b")

    pass_time(store, clock, ENDING_SECONDS if end == "failed" else 0)  # its workers notice the end
    assert store.job(job) is None
    if isinstance(store, RedisJobStore):
        assert [key for key in store.client.scan_iter() if job.encode() in key] == []


@pytest.mark.parametrize("by", ["call", "limit"])
@pytest.mark.parametrize("end", ["cancelled", "failed"])
def test_the_last_writes_for_a_deleted_analysis_are_not_counted(
    store: JobStore, clock: Clock, monkeypatch: pytest.MonkeyPatch, end: str, by: str
) -> None:
    """Its workers notice the end with their next call."""
    job = submit(store, "a").job
    tokens = claim_token(store, job), claim_token(store, job, 1, "w2")
    if end == "failed":
        store.change_shard(transitions.fail, job, 0, tokens[0], OOPS)
    else:
        store.cancel("a", "")

    if by == "call":
        assert store.delete("a") is True
    else:
        monkeypatch.setattr(transitions, "MAX_FINISHED", 1)
        finish_many(store, clock, 1)
    assert store.snapshot("a") is None

    assert store.change_shard(transitions.progress, job, 1, tokens[1], 1) is False
    assert store.change_shard(transitions.finish, job, 1, tokens[1], shard_result(4)) is None
    assert store.depth().refused == 0
    pass_time(store, clock, ENDING_SECONDS)
    assert store.job(job) is None
    if isinstance(store, RedisJobStore):
        assert [key for key in store.client.scan_iter() if job.encode() in key] == []


def test_a_job_whose_results_may_be_archived_outlives_its_deleted_analysis(store: JobStore, clock: Clock) -> None:
    """Otherwise, its judge would not notice the deletion, and would leave the result in the archive."""
    job = submit(store, "a").job
    run_all(store, job)
    store.change_job(transitions.mark_archiving, job, claim_judging(store, job) or 0, 60.0)
    store.cancel("a", "", during_archiving=True)

    assert store.delete("a") is True
    pass_time(store, clock, ENDING_SECONDS)
    assert get_job(store, job).state is State.CANCELLED


def test_a_job_exists_as_long_as_one_of_its_analyses(five: JobStore, clock: Clock) -> None:
    job = submit(five, "a").job
    submit(five, "b")
    clock.advance(1)
    five.cancel("a", "")
    finish_many(five, clock, 4)
    five.change_shard(transitions.fail, job, 0, claim_token(five, job), OOPS)

    assert record_ids(five) == {"m0", "m1", "m2", "m3", "b"}
    assert get_job(five, job).analyses == {"b"}


def test_the_limit_applies_to_analyses_of_one_job(five: JobStore, clock: Clock) -> None:
    for number in range(8):
        job = submit(five, f"a{number}").job
    fencing_token = claim_token(five, job)

    assert five.change_shard(transitions.fail, job, 0, fencing_token, OOPS) is True

    assert len(record_ids(five)) == 5
    assert get_job(five, job).analyses == record_ids(five)


def test_an_analysis_with_a_pending_write_back_is_not_deleted(five: JobStore, clock: Clock) -> None:
    clock.advance(1)
    submit(five, "pending", key="pending")
    five.run(lambda tx: tx.add_to_outbox("pending"))
    five.cancel("pending", "")
    finish_many(five, clock, 6)
    assert record_ids(five) == {"pending", "m1", "m2", "m3", "m4", "m5"}

    five.delete_outbox_item(outbox_item(five, "pending"))
    finish_many(five, clock, 1, first=6)

    assert record_ids(five) == {"m2", "m3", "m4", "m5", "m6"}


def test_a_retried_analysis_is_neither_counted_nor_deleted(five: JobStore, clock: Clock) -> None:
    submit_failed(five)
    resubmit(five)
    finish_many(five, clock, 6)

    assert record_ids(five) == {"a", "m1", "m2", "m3", "m4", "m5"}
    assert state_of(five, "a") is State.QUEUED


def test_a_deleted_analysis_does_not_count_against_the_limit(five: JobStore, clock: Clock) -> None:
    finish_many(five, clock, 5)
    five.delete("m3")
    finish_many(five, clock, 1, first=5)

    assert record_ids(five) == {"m0", "m1", "m2", "m4", "m5"}


def test_an_expired_analysis_is_not_listed(store: JobStore, clock: Clock) -> None:
    finish_many(store, clock, 2)
    assert record_ids(store) == {"m0", "m1"}
    pass_time(store, clock, 7 * DAY)
    assert record_ids(store) == set()

    finish_many(store, clock, 1, first=2)
    assert record_ids(store) == {"m2"}


def test_expired_analyses_do_not_count_against_the_limit(five: JobStore, clock: Clock) -> None:
    finish_many(five, clock, 5)
    pass_time(five, clock, 7 * DAY + 60)
    finish_many(five, clock, 5, first=5)
    assert record_ids(five) == {"m5", "m6", "m7", "m8", "m9"}


@pytest.mark.parametrize("end", ["cancel", "fail", "finish"])
def test_an_error_while_old_records_are_deleted_does_not_hide_the_end_of_a_job(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    job = submit(store, "a", of=spec(total=4)).job
    token = claim_token(store, job)

    def refuse(*_: object, **__: object) -> None:
        raise Unavailable("The job store does not answer.")

    monkeypatch.setattr(store, "_delete_excess", refuse)

    match end:
        case "cancel":
            assert store.cancel("a", "")
        case "fail":
            assert store.change_shard(transitions.fail, job, 0, token, OOPS)
        case _:
            assert store.change_shard(transitions.finish, job, 0, token, shard_result(4)) == 0
            judging = claim_judging(store, job)
            assert judging is not None
            assert store.change_job(transitions.finish_judging, job, judging, OOPS)


def test_thousands_of_analyses_of_one_job_are_deleted_in_one_step(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command of a script has at most 8,000 arguments."""
    client = server.client()
    client.flushall()
    store = RedisJobStore(connect(server.url, 20.0))
    job = submit(store, "a").job
    members = [f"b{number:05}" for number in range(8100)]
    store.cancel("a", "not needed")
    client.sadd(f"errata:job:{job}:analyses", *members)
    client.zadd("errata:finished", dict.fromkeys(members, 1.0))
    pipeline = client.pipeline()
    for member in members:
        pipeline.hset(f"errata:analysis:{member}", mapping={"state": "CANCELLED", "job": job})
    pipeline.execute()
    monkeypatch.setattr(transitions, "MAX_FINISHED", 1)

    submit(store, "c", key="other")
    assert store.cancel("c", "not needed")

    assert client.zrange("errata:finished", 0, -1) == [b"c"]

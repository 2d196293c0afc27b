"""Cancellation of analyses."""

from job_store_calls import (
    LEASE_SECONDS,
    OOPS,
    call_concurrently,
    claim_judging,
    claim_token,
    shard_result,
    state_of,
    submit,
)
from manual_clock import Clock

from service.domain import State
from service.jobs import transitions
from service.jobs.store import JobStore
from service.jobs.transitions import ClaimOutcome


def test_cancelling_one_of_two_analyses_does_not_stop_the_job(store: JobStore, clock: Clock) -> None:
    job = submit(store, "a").job
    submit(store, "b")
    fencing_token = claim_token(store, job)

    assert store.cancel("a", "not needed") is True

    snapshot = store.snapshot("a")
    assert snapshot is not None
    assert (snapshot.record.state, snapshot.record.ended) == (State.CANCELLED, clock.now)
    assert snapshot.record.failure is not None
    assert snapshot.record.failure.message == "not needed"
    assert state_of(store, "b") is State.RUNNING
    assert store.change_shard(transitions.progress, job, 0, fencing_token, 1) is True
    assert state_of(store, "a") is State.CANCELLED


def test_cancelling_the_last_analysis_stops_the_job(store: JobStore) -> None:
    job = submit(store, "a").job
    submit(store, "b")
    fencing_token = claim_token(store, job)
    store.change_shard(transitions.finish, job, 1, claim_token(store, job, 1), shard_result(4))

    store.cancel("a", "")
    store.cancel("b", "")

    assert store.change_shard(transitions.progress, job, 0, fencing_token, 1) is False
    assert store.change_shard(transitions.renew, job, 0, fencing_token, LEASE_SECONDS) is False
    assert store.change_shard(transitions.finish, job, 0, fencing_token, shard_result(4)) is None
    assert store.change_shard(transitions.claim, job, 2, "w2", LEASE_SECONDS).kind is ClaimOutcome.SKIP
    assert claim_judging(store, job) is None
    assert store.shard_results(job) == []


def test_a_queued_analysis_is_cancelled_immediately_and_its_message_skipped(store: JobStore) -> None:
    job = submit(store, "a").job
    store.cancel("a", "")

    assert state_of(store, "a") is State.CANCELLED
    assert store.change_shard(transitions.claim, job, 0, "w1", LEASE_SECONDS).kind is ClaimOutcome.SKIP


def test_an_analysis_in_backoff_is_cancelled_immediately(store: JobStore, clock: Clock) -> None:
    job = submit(store, "a").job
    store.change_shard(transitions.retry, job, 0, claim_token(store, job), OOPS)
    store.cancel("a", "")
    clock.advance(60)

    assert store.change_shard(transitions.claim, job, 0, "w1", LEASE_SECONDS).kind is ClaimOutcome.SKIP


def test_only_open_analyses_can_be_cancelled(store: JobStore) -> None:
    job = submit(store, "a").job
    store.change_shard(transitions.fail, job, 0, claim_token(store, job), OOPS)

    assert store.cancel("a", "") is False
    assert store.cancel("no-such-analysis", "") is False
    assert state_of(store, "a") is State.FAILED


def test_one_of_many_concurrent_cancellations_succeeds(store: JobStore) -> None:
    submit(store, "a")

    assert sum(call_concurrently(16, lambda _: store.cancel("a", ""))) == 1

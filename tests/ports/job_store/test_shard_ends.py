"""Shards that are retried, released, or failed."""

import pytest
from job_store_calls import LEASE_SECONDS, OOPS, claim_token, get_job, state_of, submit
from manual_clock import Clock

from service.domain import State
from service.jobs import transitions
from service.jobs.store import JobStore
from service.jobs.transitions import NO_RETRY, ClaimOutcome


def test_transient_errors_are_retried_with_backoff_and_the_fourth_fails_the_job(store: JobStore, clock: Clock) -> None:
    job = submit(store, "a").job
    for delay in (5.0, 10.0, 20.0):
        fencing_token = claim_token(store, job)
        assert store.change_shard(transitions.retry, job, 0, fencing_token, OOPS) == pytest.approx(delay)
        clock.advance(delay / 2)
        waiting = store.change_shard(transitions.claim, job, 0, "w2", LEASE_SECONDS)
        assert (waiting.kind, waiting.delay) == (ClaimOutcome.WAIT, pytest.approx(delay / 2))
        clock.advance(delay / 2)

    assert store.change_shard(transitions.retry, job, 0, claim_token(store, job), OOPS) == NO_RETRY
    snapshot = store.snapshot("a")
    assert snapshot is not None
    assert (snapshot.record.state, snapshot.record.failure) == (State.FAILED, OOPS)


def test_a_retry_is_not_a_crash_and_resets_the_progress(store: JobStore) -> None:
    job = submit(store, "a").job
    fencing_token = claim_token(store, job)
    store.change_shard(transitions.progress, job, 0, fencing_token, 3)
    store.change_shard(transitions.retry, job, 0, fencing_token, OOPS)

    shard = get_job(store, job).shards[0]
    assert (shard.state, shard.crashes, shard.retries, shard.done) == (State.QUEUED, 0, 1, 0)


def test_a_released_shard_counts_nothing_and_can_be_claimed_immediately(store: JobStore) -> None:
    job = submit(store, "a").job
    for round in range(1, 9):
        fencing_token = claim_token(store, job, worker=f"w{round}")
        store.change_shard(transitions.progress, job, 0, fencing_token, 2)
        assert store.change_shard(transitions.release, job, 0, fencing_token) is True
        shard = get_job(store, job).shards[0]
        assert (shard.state, shard.fencing_token, shard.crashes, shard.retries, shard.done) == (
            State.QUEUED,
            round,
            0,
            0,
            0,
        )


def test_a_failed_shard_fails_the_analyses_and_stops_the_other_shards(store: JobStore) -> None:
    job = submit(store, "a").job
    submit(store, "b")
    first, second = claim_token(store, job, 0), claim_token(store, job, 1)

    assert store.change_shard(transitions.fail, job, 0, first, OOPS) is True

    assert {state_of(store, "a"), state_of(store, "b")} == {State.FAILED}
    assert store.change_shard(transitions.progress, job, 1, second, 1) is False
    assert store.change_shard(transitions.claim, job, 2, "w2", LEASE_SECONDS).kind is ClaimOutcome.SKIP


def test_a_message_of_an_ended_job_changes_nothing(store: JobStore, clock: Clock) -> None:
    job = submit(store, "a").job
    store.change_shard(transitions.fail, job, 0, claim_token(store, job), OOPS)
    before = store.snapshot("a")
    assert before is not None
    clock.advance(100)

    assert store.change_shard(transitions.claim, job, 1, "w2", LEASE_SECONDS).kind is ClaimOutcome.SKIP

    after = store.snapshot("a")
    assert after is not None
    assert after.record == before.record


def test_a_message_of_a_deleted_analysis_is_skipped(store: JobStore) -> None:
    job = submit(store, "a").job
    store.change_shard(transitions.fail, job, 0, claim_token(store, job), OOPS)
    store.delete("a")

    assert store.change_shard(transitions.claim, job, 1, "w2", LEASE_SECONDS).kind is ClaimOutcome.SKIP

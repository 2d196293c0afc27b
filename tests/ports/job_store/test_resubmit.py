"""Retries of failed analyses."""

from dataclasses import replace

import pytest
from job_store_calls import (
    DAY,
    OOPS,
    claim_judging,
    claim_token,
    pass_time,
    resubmit,
    run_all,
    spec,
    state_of,
    submit,
    submit_failed,
)
from manual_clock import Clock

from service.domain import State
from service.jobs import transitions
from service.jobs.store import ENDING_SECONDS, JobStore, Outcome


def test_a_failed_analysis_is_queued_again_under_the_same_id(store: JobStore) -> None:
    submit_failed(store)

    submission = resubmit(store)

    assert submission is not None
    assert (submission.outcome, submission.analysis) == (Outcome.NEW, "a")
    snapshot = store.snapshot("a")
    assert snapshot is not None
    assert (snapshot.record.state, snapshot.record.failure) == (State.QUEUED, None)
    run_all(store, submission.job)
    fencing_token = claim_judging(store, submission.job)
    assert fencing_token is not None
    assert store.change_job(transitions.finish_judging, submission.job, fencing_token) is not None
    assert store.snapshot("a") is None


def test_a_retry_deletes_the_failed_job_unless_another_analysis_refers_to_it(store: JobStore, clock: Clock) -> None:
    submit_failed(store)
    failed = store.snapshot("a").job.id
    submit(store, "b", key="other")
    resubmit(store)
    assert store.job(failed) is not None  # its worker may write once more
    pass_time(store, clock, ENDING_SECONDS)

    assert store.job(failed) is None

    shared = submit(store, "c", key="shared").job
    submit(store, "d", key="shared")
    store.change_shard(transitions.fail, shared, 0, claim_token(store, shared), OOPS)
    store.resubmit(replace(store.snapshot("c").record, job=""), replace(spec(), model="demo:new"), limit=10)
    pass_time(store, clock, ENDING_SECONDS)

    assert store.snapshot("d").job.id == shared
    store.delete("d")
    pass_time(store, clock, ENDING_SECONDS)
    assert store.job(shared) is None


@pytest.mark.parametrize("state", ["open", "cancelled", "unknown"])
def test_only_failed_analyses_can_be_retried(store: JobStore, state: str) -> None:
    if state != "unknown":
        submit(store, "a")
    if state == "cancelled":
        store.cancel("a", "")

    assert resubmit(store) is None


def test_a_retried_analysis_joins_an_equal_job_and_counts_against_the_limit(store: JobStore) -> None:
    submit_failed(store)
    other = submit(store, "b").job

    full, joined = resubmit(store, limit=1), resubmit(store, limit=2)

    assert full is not None and full.outcome is Outcome.FULL
    assert joined is not None and (joined.outcome, joined.job) == (
        Outcome.JOINED,
        other,
    )
    assert resubmit(store) is None  # it is open


def test_a_retry_that_the_limit_refuses_changes_nothing(store: JobStore, clock: Clock) -> None:
    submit_failed(store)
    submit(store, "b")
    failed = store.snapshot("a")
    resubmit(store, limit=1)
    pass_time(store, clock, ENDING_SECONDS)

    after = store.snapshot("a")
    assert (after.record, after.job) == (failed.record, failed.job)


def test_a_retried_analysis_does_not_expire(store: JobStore, clock: Clock) -> None:
    submit_failed(store, "r")
    resubmit(store, request_id="r")
    pass_time(store, clock, 8 * DAY)
    submit(store, "new", key="new", created=clock.now)

    assert state_of(store, "a") is State.QUEUED
    assert submit(store, "x", request_id="r").analysis == "a"

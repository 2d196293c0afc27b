"""Claims of shards: leases, crashes, progress, and fencing tokens."""

from collections import Counter
from collections.abc import Callable

import pytest
from job_store_calls import (
    LATE_WRITES,
    LEASE_SECONDS,
    OOPS,
    call_concurrently,
    claim_token,
    get_job,
    job_spec,
    shard_result,
    state_of,
    submit,
)
from manual_clock import Clock

from service.domain import State
from service.jobs import transitions
from service.jobs.store import JobStore, Outcome, Submission
from service.jobs.transitions import CRASH_DELAYS, Claim, ClaimOutcome


def test_a_claim_sets_the_shard_the_job_and_its_analyses_running(store: JobStore, clock: Clock) -> None:
    submission = submit(store, "a")
    submit(store, "b")

    claim = store.change_shard(transitions.claim, submission.job, 1, "w1", LEASE_SECONDS)

    assert (claim.kind, claim.fencing_token) == (ClaimOutcome.CLAIMED, 1)
    job = get_job(store, submission.job)
    assert (job.state, job.started) == (State.RUNNING, clock.now)
    assert [shard.state for shard in job.shards] == [State.QUEUED, State.RUNNING, State.QUEUED]
    assert (job.shards[1].worker, job.shards[1].lease) == ("w1", clock.now + LEASE_SECONDS)
    assert {state_of(store, "a"), state_of(store, "b")} == {State.RUNNING}


def test_a_shard_of_a_live_worker_cannot_be_claimed(store: JobStore, clock: Clock) -> None:
    job = submit(store, "a").job
    claim_token(store, job)
    clock.advance(5)

    claim = store.change_shard(transitions.claim, job, 0, "w2", LEASE_SECONDS)

    assert claim.kind is ClaimOutcome.WAIT
    assert claim.delay == pytest.approx(LEASE_SECONDS - 5)
    assert get_job(store, job).shards[0].worker == "w1"


def test_one_of_many_concurrent_claims_succeeds(store: JobStore) -> None:
    job = submit(store, "a").job

    claims = call_concurrently(
        24, lambda number: store.change_shard(transitions.claim, job, 0, f"w{number}", LEASE_SECONDS)
    )

    assert Counter(claim.kind for claim in claims) == {ClaimOutcome.CLAIMED: 1, ClaimOutcome.WAIT: 23}


def test_two_workers_share_one_job(store: JobStore) -> None:
    job = submit(store, "a").job

    assert claim_token(store, job, 0, "w1") == 1
    assert claim_token(store, job, 1, "w2") == 1
    assert [shard.worker for shard in get_job(store, job).shards] == ["w1", "w2", ""]


def test_an_unknown_job_is_skipped(store: JobStore) -> None:
    assert store.change_shard(transitions.claim, "no-such-job", 0, "w1", LEASE_SECONDS).kind is ClaimOutcome.SKIP
    assert store.job("no-such-job") is None
    assert store.snapshot("no-such-analysis") is None


def test_a_finished_shard_is_skipped(store: JobStore) -> None:
    job = submit(store, "a").job
    store.change_shard(transitions.finish, job, 0, claim_token(store, job), shard_result(4))

    assert store.change_shard(transitions.claim, job, 0, "w2", LEASE_SECONDS).kind is ClaimOutcome.SKIP


def test_an_expired_lease_counts_as_a_crash_and_the_shard_can_be_claimed(store: JobStore, clock: Clock) -> None:
    job = submit(store, "a").job
    fencing_token = claim_token(store, job)
    store.change_shard(transitions.progress, job, 0, fencing_token, 3)
    clock.advance(LEASE_SECONDS + 0.1)

    assert claim_token(store, job, worker="w2") == fencing_token + 1
    shard = get_job(store, job).shards[0]
    assert (shard.crashes, shard.retries, shard.worker, shard.done) == (1, 0, "w2", 0)


def test_a_shard_that_crashes_its_workers_fails_after_three_claims(store: JobStore, clock: Clock) -> None:
    job = submit(store, "a").job
    submit(store, "b")
    starts = 0
    while (
        claim := store.change_shard(transitions.claim, job, 0, f"w{starts}", LEASE_SECONDS)
    ).kind is ClaimOutcome.CLAIMED:
        starts += 1
        clock.advance(LEASE_SECONDS + max(CRASH_DELAYS))

    assert (starts, claim.kind) == (3, ClaimOutcome.JOB_FAILED)
    assert get_job(store, job).state is State.FAILED
    for analysis in "ab":
        snapshot = store.snapshot(analysis)
        assert snapshot is not None
        assert snapshot.record.state is State.FAILED
        assert snapshot.record.failure is not None
        assert snapshot.record.failure.reason == "WORKER_LOST"
        assert snapshot.record.ended == clock.now
    assert store.change_shard(transitions.claim, job, 1, "w9", LEASE_SECONDS).kind is ClaimOutcome.SKIP


def test_a_shard_is_first_in_line_after_its_first_crash_and_waits_after_its_second(
    store: JobStore, clock: Clock
) -> None:
    job = submit(store, "a").job
    claim_token(store, job, 2)
    clock.advance(LEASE_SECONDS)

    claim, claimed_job, index = store.claim_next((job, 0), "w2")
    assert (claim.kind, claim.fencing_token, claim.waiting_since) == (ClaimOutcome.CLAIMED, 2, clock.now)
    assert claimed_job is not None
    assert (claimed_job.id, claimed_job.spec, claimed_job.analyses, index) == (job, job_spec(store, job), {"a"}, 2)

    clock.advance(LEASE_SECONDS + 1)
    submit(store, "b", key="later")
    for expected in (0, 1):
        assert store.claim_next((job, 2), "w3")[2] == expected
    claim, claimed_job, _ = store.claim_next((job, 2), "w3", lambda spec: spec.model == "demo:same")
    assert (claim, claimed_job) == (Claim(ClaimOutcome.WAIT, delay=9.0), None)
    clock.advance(9.0)
    assert store.depth().crashes == 1
    claim, _, index = store.claim_next((job, 0), "w3")
    assert (claim.fencing_token, index) == (3, 2)  # before the shards of the later job
    assert store.depth().crashes == 2


def test_an_analysis_that_joins_a_running_job_is_no_conflict_for_a_claim(
    store: JobStore, change_before_commit: Callable[[Callable[[], object]], list[bool]]
) -> None:
    job = submit(store, "a").job
    claim_token(store, job)
    joined = list[Submission]()
    commits = change_before_commit(lambda: joined.append(submit(store, "b")))

    assert store.claim_next((job, 1), "w2")[0].kind is ClaimOutcome.CLAIMED

    assert [submission.outcome for submission in joined] == [Outcome.JOINED]
    assert commits == [True, True]


def test_a_renewal_extends_the_lease(store: JobStore, clock: Clock) -> None:
    job = submit(store, "a").job
    fencing_token = claim_token(store, job)
    for _ in range(5):
        clock.advance(LEASE_SECONDS - 1)
        assert store.change_shard(transitions.renew, job, 0, fencing_token, LEASE_SECONDS) is True
        assert store.change_shard(transitions.claim, job, 0, "w2", LEASE_SECONDS).kind is ClaimOutcome.WAIT
    assert get_job(store, job).shards[0].crashes == 0


def test_the_progress_of_a_job_is_the_sum_of_its_shards(store: JobStore) -> None:
    job = submit(store, "a").job
    first, second = claim_token(store, job, 0), claim_token(store, job, 1)

    assert store.change_shard(transitions.progress, job, 0, first, 3) is True
    assert store.change_shard(transitions.progress, job, 1, second, 2) is True
    assert get_job(store, job).done == 5


@pytest.mark.parametrize("call", sorted(LATE_WRITES))
def test_an_outdated_fencing_token_is_rejected_by_all_calls(store: JobStore, clock: Clock, call: str) -> None:
    job = submit(store, "a").job
    late = claim_token(store, job, worker="late")
    clock.advance(LEASE_SECONDS + 1)
    claim_token(store, job, worker="other")
    before = get_job(store, job)

    write, rejection = LATE_WRITES[call]

    assert write(store, job, late) == rejection
    assert get_job(store, job) == before
    assert store.shard_results(job) == []


@pytest.mark.parametrize("call", sorted(LATE_WRITES))
def test_a_fencing_token_is_invalid_after_a_release(store: JobStore, call: str) -> None:
    job = submit(store, "a").job
    fencing_token = claim_token(store, job)
    store.change_shard(transitions.release, job, 0, fencing_token)
    before = get_job(store, job)

    write, rejection = LATE_WRITES[call]

    assert write(store, job, fencing_token) == rejection
    assert get_job(store, job) == before


@pytest.mark.parametrize("call", sorted(LATE_WRITES))
def test_a_failed_job_does_not_change(store: JobStore, call: str) -> None:
    job = submit(store, "a").job
    other = claim_token(store, job, 1)
    fencing_token = claim_token(store, job)
    store.change_shard(transitions.fail, job, 1, other, OOPS)
    before = get_job(store, job)

    write, rejection = LATE_WRITES[call]

    assert write(store, job, fencing_token) == rejection
    assert get_job(store, job) == before


def test_a_late_result_does_not_replace_the_result_of_another_worker(store: JobStore, clock: Clock) -> None:
    job = submit(store, "a").job
    late = claim_token(store, job, worker="late")
    clock.advance(LEASE_SECONDS + 1)
    store.change_shard(transitions.finish, job, 0, claim_token(store, job, worker="other"), shard_result(4, first=100))

    assert store.change_shard(transitions.finish, job, 0, late, shard_result(4, first=900)) is None
    assert store.shard_results(job)[0].predictions.top1.tolist() == [100, 101, 102, 103]

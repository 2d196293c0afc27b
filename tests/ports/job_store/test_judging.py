"""The last shard of a job, and its judging."""

from job_store_calls import (
    LEASE_SECONDS,
    OOPS,
    call_concurrently,
    claim_judging,
    claim_token,
    get_job,
    run_all,
    shard_result,
    spec,
    state_of,
    submit,
)

from service.domain import State
from service.jobs import transitions
from service.jobs.store import JobStore
from service.jobs.transitions import ClaimOutcome


def test_the_last_shard_is_reported_once(store: JobStore) -> None:
    job = submit(store, "a", of=spec(total=24, shard_size=1)).job
    fences = [claim_token(store, job, shard) for shard in range(24)]

    left = call_concurrently(
        24, lambda shard: store.change_shard(transitions.finish, job, shard, fences[shard], shard_result(1, shard))
    )

    assert sorted(left) == list(range(24))
    assert get_job(store, job).done == 24


def test_a_repeated_result_has_the_reply_of_the_first(store: JobStore) -> None:
    """A worker repeats a call whose reply was lost."""
    job = submit(store, "a", of=spec(total=8, shard_size=4)).job
    token = claim_token(store, job, 0)
    assert [store.change_shard(transitions.finish, job, 0, token, shard_result(4)) for _ in range(2)] == [1, 1]
    assert get_job(store, job).num_shards_left == 1
    assert store.depth().refused == 0

    assert store.change_shard(transitions.finish, job, 0, token - 1, shard_result(4)) is None
    store.cancel("a", "")
    assert store.change_shard(transitions.finish, job, 0, token, shard_result(4)) is None


def test_shard_results_are_in_the_order_of_the_shards(store: JobStore) -> None:
    job = submit(store, "a", of=spec(total=10, shard_size=4)).job
    for shard, (start, stop) in ((2, (8, 10)), (0, (0, 4)), (1, (4, 8))):
        store.change_shard(
            transitions.finish, job, shard, claim_token(store, job, shard), shard_result(stop - start, start)
        )

    top1s = [top1 for result in store.shard_results(job) for top1 in result.predictions.top1.tolist()]
    assert top1s == list(range(10))


def test_judging_can_be_claimed_only_when_all_shards_are_done(store: JobStore) -> None:
    job = submit(store, "a", of=spec(total=8, shard_size=4)).job
    assert claim_judging(store, job) is None
    store.change_shard(transitions.finish, job, 0, claim_token(store, job, 0), shard_result(4))
    assert claim_judging(store, job) is None
    store.change_shard(transitions.finish, job, 1, claim_token(store, job, 1), shard_result(4, 4))

    assert claim_judging(store, job) is not None
    assert claim_judging(store, "no-such-job") is None


def test_a_second_claim_of_the_judging_invalidates_the_first(store: JobStore) -> None:
    job = submit(store, "a").job
    run_all(store, job)
    early, late = claim_judging(store, job), claim_judging(store, job)
    assert early is not None
    assert late is not None

    assert late > early
    assert store.change_job(transitions.finish_judging, job, early) is None
    assert state_of(store, "a") is State.RUNNING
    assert store.change_job(transitions.finish_judging, job, late) is not None
    assert store.change_job(transitions.finish_judging, job, late) is None


def test_a_succeeded_job_leaves_no_record(store: JobStore) -> None:
    job = submit(store, "a").job
    submit(store, "b")
    run_all(store, job)
    store.change_job(transitions.finish_judging, job, claim_judging(store, job) or 0)

    assert (store.snapshot("a"), store.snapshot("b"), store.snapshots()) == (None, None, [])
    assert store.shard_results(job) == []
    assert claim_judging(store, job) is None
    assert store.change_shard(transitions.claim, job, 0, "w1", LEASE_SECONDS).kind is ClaimOutcome.SKIP


def test_failed_judging_fails_the_analyses(store: JobStore) -> None:
    job = submit(store, "a").job
    run_all(store, job)
    store.change_job(transitions.finish_judging, job, claim_judging(store, job) or 0, OOPS)

    snapshot = store.snapshot("a")
    assert snapshot is not None
    assert (snapshot.record.state, snapshot.record.failure) == (State.FAILED, OOPS)
    assert store.shard_results(job) == []


def test_an_analysis_cancelled_while_it_is_judged_stays_cancelled(store: JobStore) -> None:
    job = submit(store, "a").job
    run_all(store, job)
    fencing_token = claim_judging(store, job) or 0
    store.cancel("a", "")

    assert store.change_job(transitions.finish_judging, job, fencing_token) is None
    assert state_of(store, "a") is State.CANCELLED


def test_an_analysis_submitted_while_an_equal_one_is_judged_is_not_lost(store: JobStore) -> None:
    """The judge archives the analyses that waited when it began; a later one must not be deleted with them."""
    job = submit(store, "early").job
    run_all(store, job)
    fencing_token = claim_judging(store, job) or 0
    archived = get_job(store, job).analyses
    submit(store, "late")
    assert "late" not in archived

    store.change_job(transitions.finish_judging, job, fencing_token)

    late = store.snapshot("late")
    assert late is not None
    assert not late.record.state.is_final

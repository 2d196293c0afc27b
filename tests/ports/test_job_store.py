"""One suite for all job stores: submit, claim, fencing tokens, leases, cancel, judging, and the outbox."""

import io
import json
import pickle
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import structlog
from errata.errors import DamagedRecord, NewerRecord, Unavailable
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from manual_clock import Clock
from redis_job_store import RedisJobStore
from redis_server import RedisServer

from service.domain import AnalysisRequest, Failure, ModelInfo, Predictions, State, class_lines, parse_class_lines
from service.jobs import transitions
from service.jobs.base_store import BATCH, Depth
from service.jobs.memory import InMemoryJobStore
from service.jobs.records import SCHEMA
from service.jobs.store import ENDING_SECONDS, JUDGING, MODELS, JobStore, Outcome, Submission
from service.jobs.transaction import JobTransaction
from service.jobs.transitions import (
    CRASH_DELAYS,
    NO_RETRY,
    AnalysisRecord,
    Claim,
    ClaimOutcome,
    Job,
    JobSpec,
    OutboxItem,
    ShardResult,
    WorkerOffer,
)
from service.key_value.redis_backend import RedisBackend, connect
from service.taxonomy.imagenet_1k import imagenet_1k

RECORDED = Path(__file__).parent / "written"  # the keys that earlier versions wrote
LEASE_SECONDS = 20.0
DAY = 86_400.0
OOPS = Failure("OOPS", "it broke")


def make(request: pytest.FixtureRequest, kind: str, clock: Clock) -> JobStore:
    """Return an empty store. Only the store in Redis starts a server."""
    if kind == "memory":
        return InMemoryJobStore(clock)
    return redis_store(request.getfixturevalue("server"), clock)


def redis_store(server: RedisServer, clock: Clock) -> RedisJobStore:
    """Return an empty store in Redis."""
    client = connect(server.url, timeout=10)
    client.flushall()
    return RedisJobStore(client, clock)


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, clock: Clock) -> Iterator[JobStore]:
    new_store = make(request, request.param, clock)
    yield new_store
    if isinstance(new_store, RedisJobStore):
        new_store.client.connection_pool.disconnect()  # pytest reports open sockets as errors


def pass_time(store: JobStore, clock: Clock, seconds: float) -> None:
    """Advance the clock, and the TTLs of Redis."""
    clock.advance(seconds)
    if isinstance(store, RedisJobStore):
        client = store.client
        for key in client.scan_iter():
            left = client.pttl(key)
            if left > 0:
                client.pexpire(key, left - int(seconds * 1000))


def spec(total: int = 10, shard_size: int = 4) -> JobSpec:
    return JobSpec("demo:m", "demo", "e" * 64, "i" * 64, total, shard_size)


def submit(
    store: JobStore,
    id: str,
    *,
    key: str = "same",
    request_id: str = "",
    body: str = "body",
    fresh: bool = False,
    limit: int = 1000,
    of: JobSpec | None = None,
    created: float = 0.0,
    owner: str = "",
) -> Submission:
    request = AnalysisRequest("demo", "demo:m", request_id=request_id)
    record = AnalysisRecord(id, request, body, "e" * 64, created, owner)
    return store.submit(record, replace(of or spec(), model=f"demo:{key}", fresh=fresh), limit=limit)


def shard_result(size: int, first: int = 0) -> ShardResult:
    return ShardResult(
        Predictions(np.arange(first, first + size, dtype=np.int16)), ModelInfo("demo:m", "net", "0" * 64, "t")
    )


def claim_token(store: JobStore, job: str, shard: int = 0, worker: str = "w1") -> int:
    claim = store.change_shard(transitions.claim, job, shard, worker, LEASE_SECONDS)
    assert claim.kind is ClaimOutcome.CLAIMED
    return claim.fencing_token


def run_all(store: JobStore, job: str) -> None:
    """Predict every shard of a job."""
    stored_job = store.job(job)
    assert stored_job is not None
    for shard in range(stored_job.spec.num_shards):
        start, stop = stored_job.spec.bounds(shard)
        store.change_shard(
            transitions.finish, job, shard, claim_token(store, job, shard), shard_result(stop - start, start)
        )


def get_job(store: JobStore, job: str) -> Job:
    result = store.job(job)
    assert result is not None
    return result


def claim_judging(store: JobStore, job: str) -> int | None:
    claimed = store.change_job(transitions.claim_judging, job)
    return None if claimed is None else claimed.judging_token


def job_spec(store: JobStore, job: str) -> JobSpec:
    return get_job(store, job).spec


def state_of(store: JobStore, analysis: str) -> State | None:
    result = store.snapshot(analysis)
    return result.record.state if result else None


def call_concurrently(count: int, call: Callable[[int], Any]) -> list[Any]:
    """Call concurrently from `count` threads, and return the results."""
    gate = Barrier(count)

    def wait_and_call(number: int) -> Any:
        gate.wait(10)
        return call(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(wait_and_call, range(count)))


# submit


def test_a_first_request_creates_a_job_with_all_its_shards(store: JobStore) -> None:
    submission = submit(store, "a", of=spec(total=10, shard_size=4))

    assert (submission.outcome, submission.analysis) == (Outcome.NEW, "a")
    job = get_job(store, submission.job)
    assert [shard.state for shard in job.shards] == [State.QUEUED] * 3
    assert (job.done, job.num_shards_left, job.analyses) == (0, 3, {"a"})
    assert state_of(store, "a") is State.QUEUED


def test_an_equal_request_joins_the_open_job(store: JobStore) -> None:
    first, second = submit(store, "a"), submit(store, "b")

    assert (second.outcome, second.analysis, second.job) == (Outcome.JOINED, "b", first.job)
    assert get_job(store, first.job).analyses == {"a", "b"}


def test_a_request_joins_a_running_job(store: JobStore) -> None:
    first = submit(store, "a")
    claim_token(store, first.job)

    assert submit(store, "b").job == first.job


def test_a_different_computation_gets_its_own_job(store: JobStore) -> None:
    first, second = submit(store, "a", key="one"), submit(store, "b", key="two")

    assert second.outcome is Outcome.NEW
    assert first.job != second.job


def test_a_fresh_request_neither_joins_nor_is_joined(store: JobStore) -> None:
    plain = submit(store, "a")
    fresh = submit(store, "b", fresh=True)
    fresh_too = submit(store, "c", fresh=True)
    plain_too = submit(store, "d")

    assert [submission.outcome for submission in (plain, fresh, fresh_too, plain_too)] == [
        Outcome.NEW,
        Outcome.NEW,
        Outcome.NEW,
        Outcome.JOINED,
    ]
    assert plain_too.job == plain.job
    assert len({plain.job, fresh.job, fresh_too.job}) == 3


def test_a_fresh_job_is_not_joined(store: JobStore) -> None:
    fresh = submit(store, "a", fresh=True)
    plain = submit(store, "b")

    assert plain.outcome is Outcome.NEW
    assert plain.job != fresh.job


def test_the_end_of_a_fresh_job_does_not_affect_joins(store: JobStore) -> None:
    plain = submit(store, "a")
    submit(store, "b", fresh=True)
    store.cancel("b", "why not")

    assert submit(store, "c").job == plain.job


def test_of_200_concurrent_requests_exactly_50_are_accepted_at_a_limit_of_50(store: JobStore) -> None:
    submissions = call_concurrently(200, lambda number: submit(store, f"a{number}", key=f"k{number % 70}", limit=50))

    outcomes = Counter(submission.outcome for submission in submissions)
    assert outcomes[Outcome.FULL] == 150
    assert outcomes[Outcome.NEW] + outcomes[Outcome.JOINED] == 50
    accepted = {submission.analysis for submission in submissions if submission.outcome is not Outcome.FULL}
    assert {snapshot.record.id for snapshot in store.snapshots()} == accepted
    assert {submission.open for submission in submissions if submission.outcome is Outcome.FULL} == {50}


def test_50_concurrent_equal_requests_are_50_analyses_of_one_job(store: JobStore) -> None:
    submissions = call_concurrently(50, lambda number: submit(store, f"a{number}"))

    assert Counter(submission.outcome for submission in submissions) == {Outcome.NEW: 1, Outcome.JOINED: 49}
    assert len({submission.job for submission in submissions}) == 1
    assert len(get_job(store, submissions[0].job).analyses) == 50


def test_a_rejected_request_leaves_no_record(store: JobStore) -> None:
    submit(store, "a", key="one", limit=1)
    refused = submit(store, "b", key="two", request_id="r", limit=1)

    assert (refused.outcome, refused.open) == (Outcome.FULL, 1)
    assert store.snapshot("b") is None
    store.cancel("a", "make room")
    assert submit(store, "c", key="two", request_id="r", body="another", limit=1).outcome is Outcome.NEW


@pytest.mark.parametrize("end", ["cancelled", "failed", "succeeded"])
def test_an_ended_analysis_does_not_count_against_the_limit_and_is_not_joined(store: JobStore, end: str) -> None:
    first = submit(store, "a", limit=1)
    if end == "cancelled":
        store.cancel("a", "make room")
    elif end == "failed":
        store.change_shard(transitions.fail, first.job, 0, claim_token(store, first.job), OOPS)
    else:
        run_all(store, first.job)
        store.change_job(transitions.finish_judging, first.job, claim_judging(store, first.job) or 0)

    second = submit(store, "b", limit=1)

    assert second.outcome is Outcome.NEW
    assert second.job != first.job


def test_a_repeated_request_id_returns_the_same_analysis_even_at_the_limit(store: JobStore) -> None:
    submit(store, "a", request_id="r", limit=1)
    repeated = submit(store, "b", request_id="r", limit=1)

    assert (repeated.outcome, repeated.analysis) == (Outcome.REPEATED, "a")
    assert store.snapshot("b") is None


def test_a_request_id_with_another_body_is_reported_as_reused(store: JobStore) -> None:
    submit(store, "a", request_id="r", body="one")

    assert submit(store, "b", request_id="r", body="two").outcome is Outcome.REUSED
    assert store.snapshot("b") is None


def test_requests_without_an_id_are_never_repeated(store: JobStore) -> None:
    submit(store, "a", request_id="")

    assert submit(store, "b", request_id="").analysis == "b"
    assert store.reserve("", "body", "c").outcome is Outcome.NEW
    assert store.reserve("", "another", "d").outcome is Outcome.NEW


def test_the_same_request_id_from_many_threads_makes_one_analysis(store: JobStore) -> None:
    submissions = call_concurrently(32, lambda number: submit(store, f"a{number}", request_id="r"))

    assert Counter(submission.outcome for submission in submissions) == {Outcome.NEW: 1, Outcome.REPEATED: 31}
    assert len({submission.analysis for submission in submissions}) == 1
    assert len(store.snapshots()) == 1


def test_a_reserved_request_id_applies_to_uploads_and_models(store: JobStore) -> None:
    assert store.reserve("r", "body", "u1").outcome is Outcome.NEW

    repeated = store.reserve("r", "body", "u2")
    assert (repeated.outcome, repeated.analysis) == (Outcome.REPEATED, "u1")
    assert store.reserve("r", "another", "u3").outcome is Outcome.REUSED
    assert submit(store, "a", request_id="r", body="another").outcome is Outcome.REUSED


def test_a_released_request_id_can_be_used_with_another_body(store: JobStore) -> None:
    store.reserve("r", "body", "u1")
    store.reserve("s", "body", "u2")

    store.release_ids("r", "u1")

    assert store.reserve("r", "another", "u3").outcome is Outcome.NEW
    assert store.reserve("s", "another", "u4").outcome is Outcome.REUSED


@pytest.mark.parametrize(("request_id", "analysis_id"), [("", "u1"), ("unknown", "u1"), ("r", "u0"), ("r", "")])
def test_releasing_an_unreserved_request_id_or_that_of_another_analysis_changes_nothing(
    store: JobStore, request_id: str, analysis_id: str
) -> None:
    store.reserve("r", "body", "u1")

    store.release_ids(request_id, analysis_id)

    assert store.reserve("r", "body", "u2").analysis == "u1"


def test_a_cancelled_reservation_binds_nothing_and_adds_no_outbox_item(store: JobStore) -> None:
    store.reserve("r", "body", "a", needs_write_back=True, delivery="prod:d1")

    store.release_ids("r", "a", "prod:d1")

    assert lease_due_items(store) == {}
    assert store.reserve("r", "another", "b", needs_write_back=True, delivery="prod:d1").outcome is Outcome.NEW
    assert lease_due_items(store) == {"b": 0}


def test_cancelling_the_reservation_of_one_analysis_does_not_change_that_of_another(store: JobStore) -> None:
    store.reserve("r", "body", "a", needs_write_back=True, delivery="prod:d1")

    store.release_ids("r", "b", "prod:d1")

    assert store.reserve("r", "body", "c").analysis == "a"
    assert store.reserve("s", "body", "c", delivery="prod:d1").analysis == "a"
    assert lease_due_items(store) == {"a": 0}


# claims, leases, and fencing tokens


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


LATE_WRITES: dict[str, tuple[Callable[[JobStore, str, int], Any], Any]] = {
    "renew_lease": (
        lambda store, job, fencing_token: store.change_shard(transitions.renew, job, 0, fencing_token, LEASE_SECONDS),
        False,
    ),
    "progress": (
        lambda store, job, fencing_token: store.change_shard(transitions.progress, job, 0, fencing_token, 2),
        False,
    ),
    "finish_shard": (
        lambda store, job, fencing_token: store.change_shard(
            transitions.finish, job, 0, fencing_token, shard_result(4)
        ),
        None,
    ),
    "release": (
        lambda store, job, fencing_token: store.change_shard(transitions.release, job, 0, fencing_token),
        False,
    ),
    "retry": (
        lambda store, job, fencing_token: store.change_shard(transitions.retry, job, 0, fencing_token, OOPS),
        None,
    ),
    "fail": (
        lambda store, job, fencing_token: store.change_shard(transitions.fail, job, 0, fencing_token, OOPS),
        False,
    ),
}


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


# retry, release, and fail


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


# cancel


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


# finishing and judging


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


# retention


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


def record_ids(store: JobStore) -> set[str]:
    return {snapshot.record.id for snapshot in store.snapshots()}


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


def test_a_reserved_request_id_expires_after_a_week(store: JobStore, clock: Clock) -> None:
    store.reserve("r", "body", "u1")
    pass_time(store, clock, 7 * DAY + 60)

    assert store.reserve("r", "another", "u2").outcome is Outcome.NEW


def test_the_images_and_classes_of_jobs_are_stored_once_by_digest(store: JobStore) -> None:
    lines = ['["a","apple","apfel"]', '["b","äpple"]']
    on_imagenet = JobSpec("demo:m", "demo", "e", "d1", total=2, shard_size=2)
    on_own_classes = replace(on_imagenet, images="d3", classes="d2")

    store.store_inputs(on_imagenet, ["a.jpg", "b.jpg"], imagenet_1k())
    store.store_inputs(on_own_classes, ["c.jpg"], parse_class_lines("fruit", lines))
    store.store_inputs(on_own_classes, ["other.jpg"], imagenet_1k())  # in fact, a digest never has other content

    assert list(store.image_names("d1")) == ["a.jpg", "b.jpg"]
    assert list(store.image_names("d3")) == ["c.jpg"]
    assert class_lines(store.label_space("d2")) == ['["a","apple","apfel"]', '["b","\\u00e4pple"]']
    for read, digest in ((store.image_names, "d2"), (store.label_space, "d1")):
        with pytest.raises(Unavailable, match=digest):
            read(digest)


# snapshots


def test_the_queue_position_counts_earlier_open_jobs(store: JobStore, clock: Clock) -> None:
    for id in "abc":
        submit(store, id, key=id)
        clock.advance(1)

    def positions() -> dict[str, int]:
        return {snapshot.record.id: snapshot.queue_position for snapshot in store.snapshots()}

    assert positions() == {"a": 0, "b": 1, "c": 2}
    store.cancel("a", "")
    assert {id: place for id, place in positions().items() if id != "a"} == {"b": 0, "c": 1}


def test_live_workers_are_those_with_a_recent_heartbeat(store: JobStore, clock: Clock) -> None:
    submit(store, "a")

    def alive() -> int:
        snapshot = store.snapshot("a")
        assert snapshot is not None
        return snapshot.live_workers

    assert alive() == 0
    store.heartbeat("w1")
    store.heartbeat("w1")
    store.heartbeat("w2")
    assert alive() == 2
    store.remove_worker("w2")
    store.remove_worker("unknown")
    assert alive() == 1
    clock.advance(120)
    assert alive() == 0


def test_a_store_stays_bound_to_the_first_archive(store: JobStore) -> None:
    assert store.bind_archive("first") == "first"

    assert store.bind_archive("second") == "first"
    assert store.bind_archive("first") == "first"


def test_a_store_without_an_archive_is_not_bound_to_an_empty_id(store: JobStore) -> None:
    assert store.bind_archive("") == ""

    assert store.bind_archive("first") == "first"
    assert store.bind_archive("") == "first"


def test_one_of_many_concurrent_archives_is_bound(store: JobStore) -> None:
    answers = call_concurrently(16, lambda number: store.bind_archive(f"archive{number}"))

    assert len(set(answers)) == 1


# state machine: only legal transitions, for any order of calls

MACHINE_LIMIT = 6


class JobStoreMachine(RuleBasedStateMachine):
    """Makes random calls with current and outdated fencing tokens, and checks invariants after each."""

    def __init__(self, make: Callable[[Clock], JobStore]) -> None:
        super().__init__()
        self.clock = Clock()
        self.store = make(self.clock)
        self.count = 0
        self.jobs: dict[str, Job] = {}  # after the last call
        self.fences: list[tuple[str, int, int]] = []  # all fencing tokens so far
        self.current_tokens: dict[tuple[str, int], int] = {}  # the current fencing tokens
        self.finished: set[tuple[str, int, int]] = set()  # job, shard, and fencing token of accepted results
        self.judges: list[tuple[str, int]] = []
        self.judge: dict[str, int] = {}
        self.states: dict[str, State] = {}  # of each analysis after the last call; deleted: succeeded
        self.deleted: set[str] = set()

    def is_available(self, job: Job) -> bool:
        """Return whether a worker can claim a shard of a job."""
        delays = (*CRASH_DELAYS, 0.0)
        times = {State.QUEUED: lambda at: at.retry_at, State.RUNNING: lambda at: at.lease + delays[at.crashes]}
        is_open = not job.state.is_final
        now = round(self.clock.now, 6)  # the store has times in microseconds
        return is_open and any(times[at.state](at) <= now for at in job.shards if at.state in times)

    def count_open(self) -> int:
        return sum(not snapshot.record.state.is_final for snapshot in self.store.snapshots())

    @rule(key=st.sampled_from("kl"), fresh=st.booleans(), shards=st.integers(1, 3))
    def submit(self, key: str, fresh: bool, shards: int) -> None:
        self.count += 1
        self.clock.advance(0.001)  # the order of claims depends on random IDs for jobs of the same time
        before = self.count_open()
        submission = submit(
            self.store,
            f"a{self.count}",
            key=f"{key}{shards}",
            fresh=fresh,
            of=spec(total=4 * shards - 1, shard_size=4),
            limit=MACHINE_LIMIT,
        )
        assert (submission.outcome is Outcome.FULL) == (before >= MACHINE_LIMIT)
        if submission.outcome is not Outcome.FULL:
            assert self.count_open() == before + 1
            self.states[submission.analysis] = State.QUEUED

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), takes_turn=st.booleans())
    def claim(self, data: st.DataObject, takes_turn: bool) -> None:
        id = data.draw(st.sampled_from(list(self.jobs)))
        shard = data.draw(st.integers(0, self.jobs[id].spec.num_shards - 1))
        if takes_turn:
            claim, job, shard = self.store.claim_next((id, shard), "w")
            assert (job is not None) == any(map(self.is_available, self.jobs.values()))
            id = id if job is None else job.id
        else:
            claim = self.store.change_shard(transitions.claim, id, shard, "w", LEASE_SECONDS)
        if claim.kind is ClaimOutcome.CLAIMED:
            assert claim.fencing_token == self.jobs[id].shards[shard].fencing_token + 1
            self.fences.append((id, shard, claim.fencing_token))
            self.current_tokens[id, shard] = claim.fencing_token
        elif claim.kind is ClaimOutcome.WAIT:
            assert claim.delay > 0

    @precondition(lambda self: self.fences)
    @rule(data=st.data(), call=st.sampled_from([*sorted(LATE_WRITES), "finish_shard", "finish_shard"]))
    def report(self, data: st.DataObject, call: str) -> None:
        id, shard, fencing_token = data.draw(st.sampled_from(self.fences))
        is_current = self.current_tokens.get((id, shard)) == fencing_token and not self.jobs[id].state.is_final
        before = self.store.job(id)
        start, stop = self.jobs[id].spec.bounds(shard)
        match call:
            case "renew_lease":
                accepted = self.store.change_shard(transitions.renew, id, shard, fencing_token, LEASE_SECONDS) is True
            case "progress":
                accepted = (
                    self.store.change_shard(
                        transitions.progress, id, shard, fencing_token, data.draw(st.integers(0, stop - start))
                    )
                    is True
                )
            case "finish_shard":
                left = self.store.change_shard(transitions.finish, id, shard, fencing_token, shard_result(stop - start))
                if (id, shard, fencing_token) in self.finished and not self.jobs[id].state.is_final:
                    assert before is not None
                    assert (left, self.store.job(id)) == (before.num_shards_left, before)
                    return
                accepted = left is not None
                if accepted:
                    assert before is not None
                    assert left == before.num_shards_left - 1
                    self.finished.add((id, shard, fencing_token))
            case "release":
                accepted = self.store.change_shard(transitions.release, id, shard, fencing_token)
            case "retry":
                accepted = self.store.change_shard(transitions.retry, id, shard, fencing_token, OOPS) is not None
            case _:
                accepted = self.store.change_shard(transitions.fail, id, shard, fencing_token, OOPS)
        assert accepted == is_current
        if not accepted:
            assert self.store.job(id) == before
        elif call not in ("renew_lease", "progress"):
            del self.current_tokens[id, shard]

    @precondition(lambda self: self.states)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        analysis = data.draw(st.sampled_from(sorted(self.states)))
        was_open = not self.states[analysis].is_final and analysis not in self.deleted
        assert self.store.cancel(analysis, "") == was_open

    @precondition(lambda self: any(state.is_final for state in self.states.values()))
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        analysis = data.draw(st.sampled_from(sorted(id for id, state in self.states.items() if state.is_final)))
        if self.store.delete(analysis):
            assert analysis not in self.deleted
            self.deleted.add(analysis)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def claim_judging(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(list(self.jobs)))
        fencing_token = claim_judging(self.store, id)
        job = self.jobs[id]
        assert (fencing_token is not None) == (not job.state.is_final and job.num_shards_left == 0)
        if fencing_token is not None:
            assert fencing_token > self.judge.get(id, 0)
            self.judge[id] = fencing_token
            self.judges.append((id, fencing_token))

    @precondition(lambda self: self.judges)
    @rule(data=st.data(), failure=st.sampled_from([None, None, OOPS]))
    def finish(self, data: st.DataObject, failure: Failure | None) -> None:
        id, fencing_token = data.draw(st.sampled_from(self.judges))
        is_current = self.judge[id] == fencing_token and not self.jobs[id].state.is_final
        assert (self.store.change_job(transitions.finish_judging, id, fencing_token, failure) is not None) == is_current
        if is_current and failure is None:
            self.jobs[id] = replace(self.jobs[id], state=State.SUCCEEDED)

    @rule(seconds=st.sampled_from([1.0, 6.0, LEASE_SECONDS + 1]))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def final_states_never_change(self) -> None:
        states = {snapshot.record.id: snapshot.record.state for snapshot in self.store.snapshots()}
        for analysis, before in self.states.items():
            if analysis in self.deleted:
                assert analysis not in states
                continue
            now = states.get(analysis, State.SUCCEEDED)
            assert now == before or not before.is_final
            assert not (before is State.RUNNING and now is State.QUEUED)
            self.states[analysis] = now
        assert states.keys() <= self.states.keys()

    @invariant()
    def transitions_are_legal_and_progress_is_at_most_the_total(self) -> None:
        for snapshot in self.store.snapshots():
            if snapshot.job is not None:
                self.jobs.setdefault(snapshot.job.id, snapshot.job)
        for id, before in list(self.jobs.items()):
            now = self.store.job(id)
            if now is None:
                assert before.state.is_final
                continue
            assert now.state == before.state or not before.state.is_final
            assert 0 <= now.done <= now.spec.total
            assert now.num_shards_left == sum(shard.state is not State.SUCCEEDED for shard in now.shards)
            for old, new in zip(before.shards, now.shards, strict=True):
                transition = (old.state.name, new.state.name)
                assert transition in {
                    ("QUEUED", "QUEUED"),
                    ("QUEUED", "RUNNING"),
                    ("RUNNING", "RUNNING"),
                    ("RUNNING", "QUEUED"),
                    ("RUNNING", "SUCCEEDED"),
                    ("SUCCEEDED", "SUCCEEDED"),
                }
                num_claims = new.fencing_token - old.fencing_token
                assert num_claims == (1 if transition == ("QUEUED", "RUNNING") else new.crashes - old.crashes)
                assert 0 <= new.retries - old.retries <= (transition == ("RUNNING", "QUEUED"))
                assert new.crashes < 3
                assert new.retries <= 3
            self.jobs[id] = now

    @invariant()
    def waiting_analyses_are_the_open_ones(
        self,
    ) -> None:  # invariants run in alphabetical order: this one needs self.jobs
        snapshots = self.store.snapshots()
        open_analyses = {snapshot.record.id for snapshot in snapshots if not snapshot.record.state.is_final}
        assert len(open_analyses) <= MACHINE_LIMIT
        open_jobs = {id: job for id in self.jobs if (job := self.store.job(id)) and not job.state.is_final}
        waiting = [analysis for job in open_jobs.values() for analysis in job.analyses]
        assert sorted(waiting) == sorted(open_analyses)
        assert all(job.analyses for job in open_jobs.values())


@pytest.mark.slow
@pytest.mark.parametrize(("implementation", "examples"), [("memory", 150), ("redis", 50)])
def test_only_legal_transitions_happen_for_any_order_of_calls(
    implementation: str, examples: int, request: pytest.FixtureRequest
) -> None:
    run_state_machine_as_test(
        lambda: JobStoreMachine(lambda clock: make(request, implementation, clock)),
        settings=settings(max_examples=examples, stateful_step_count=40),
    )


# retries of failed analyses


def submit_failed(store: JobStore, request_id: str = "") -> None:
    job = submit(store, "a", request_id=request_id).job
    store.change_shard(transitions.fail, job, 0, claim_token(store, job), OOPS)


def resubmit(store: JobStore, limit: int = 10, request_id: str = "") -> Submission | None:
    record = AnalysisRecord("a", AnalysisRequest("demo", "demo:m", request_id=request_id), "body", "e" * 64, 0.0)
    return store.resubmit(record, replace(spec(), model="demo:same"), limit=limit)


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


def test_a_retried_analysis_does_not_expire(store: JobStore, clock: Clock) -> None:
    submit_failed(store, "r")
    resubmit(store, request_id="r")
    pass_time(store, clock, 8 * DAY)
    submit(store, "new", key="new", created=clock.now)

    assert state_of(store, "a") is State.QUEUED
    assert submit(store, "x", request_id="r").analysis == "a"


# offers of workers, records of other versions, and damaged records


def test_offers_are_those_of_live_workers_or_else_the_latest(store: JobStore, clock: Clock) -> None:
    assert list(store.offers()) == []
    first, second = WorkerOffer((("timm:*", "any"),), ("demo",)), WorkerOffer((("demo:m", "one"),), ())
    store.heartbeat("w1", first)
    store.heartbeat("w2", second)

    assert sorted(store.offers(), key=str) == sorted([first, second], key=str)
    store.remove_worker("w1")
    assert list(store.offers()) == [second]
    store.remove_worker("w2")
    assert list(store.offers()) == [second]


@pytest.mark.parametrize("file", sorted(RECORDED.glob("*.json")), ids=lambda file: file.stem)
def test_open_jobs_of_earlier_versions_are_continued(server: RedisServer, file: Path) -> None:
    """Given the Redis of an earlier version in the middle of a job, the job is claimed, finished, and judged."""
    client = server.client()
    client.flushall()
    for key, stored in json.loads(file.read_text()).items():
        match stored["type"]:
            case "hash":
                client.hset(key, mapping=stored["value"])
            case "zset":
                client.zadd(key, stored["value"])
            case "set":
                client.sadd(key, *stored["value"])
            case _:
                client.set(key, stored["value"])
    store = RedisJobStore(connect(server.url, 2.0))

    (open_one,) = store.snapshots()
    assert open_one.record.request.labels == {"model": "net", "version": "1"}
    assert open_one.record.owner == "ci"
    assert open_one.job is not None
    job = open_one.job.id
    for shard in range(4):
        fencing_token = claim_token(store, job, shard, worker="newer")
        left = store.change_shard(transitions.finish, job, shard, fencing_token, shard_result(5))
    assert left == 0
    judging = claim_judging(store, job)
    assert judging is not None
    assert store.change_job(transitions.finish_judging, job, judging)
    assert list(store.snapshots()) == []


def test_records_of_a_newer_version_are_not_read(server: RedisServer) -> None:
    client = server.client()
    client.flushall()
    store = RedisJobStore(connect(server.url, 2.0))
    job, other = submit(store, "a").job, submit(store, "b", key="other").job
    record, plan = "errata:analysis:a", f"errata:job:{job}"
    for key, name in ((record, "entry"), (plan, "spec")):
        document = json.loads(client.hget(key, name)) | {"schema": SCHEMA + 1}
        client.hset(key, name, json.dumps(document))

    assert [entry.record.id for entry in store.snapshots()] == ["b"]
    for call in (lambda: store.snapshot("a"), lambda: store.job(job)):
        with pytest.raises(NewerRecord, match="a newer version of Errata wrote this record"):
            call()
    assert store.job(other) is not None


def rewrite(client: Any, key: str, field: str, **changes: object) -> None:
    """Change fields of a JSON document in a hash of Redis."""
    client.hset(key, field, json.dumps(json.loads(client.hget(key, field)) | changes))


def read_all_keys(client: Any) -> dict[bytes, Any]:
    """Return all keys of a Redis with their values."""
    read = {
        b"hash": client.hgetall,
        b"set": client.smembers,
        b"string": client.get,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
    }
    return {key: read[client.type(key)](key) for key in client.scan_iter()}


NEWER: dict[str, Callable[[RedisJobStore, str], object]] = {
    "cancel": lambda store, _: store.cancel("a", "not needed"),
    "claim_judging": lambda store, job: claim_judging(store, job),
}


def submit_with_progress(store: JobStore, clock: Clock, progress: str) -> str:
    """Submit an analysis; return its job, which is queued, has a shard whose lease is over, or is predicted."""
    job = submit(store, "a").job
    if progress == "lease over":
        claim_token(store, job)
        clock.advance(LEASE_SECONDS + 1)
    if progress == "predicted":
        run_all(store, job)
    return job


@pytest.mark.parametrize("call", sorted(NEWER))
@pytest.mark.parametrize("progress", ["queued", "lease over", "predicted"])
def test_an_older_version_does_not_change_a_newer_versions_job(
    server: RedisServer, clock: Clock, call: str, progress: str
) -> None:
    store, client = redis_store(server, clock), server.client()
    job = submit_with_progress(store, clock, progress)
    rewrite(client, f"errata:job:{job}", "spec", schema=SCHEMA + 1)
    before = read_all_keys(client)
    without_effect = {("claim_judging", "queued"), ("claim_judging", "lease over")}

    if (call, progress) in without_effect:
        NEWER[call](store, job)
    else:
        with pytest.raises(NewerRecord, match=f"reads up to {SCHEMA}"):
            NEWER[call](store, job)

    assert read_all_keys(client) == before


@pytest.mark.parametrize("progress", ["queued", "lease over"])
def test_an_older_version_does_not_claim_a_shard_of_a_newer_versions_job(
    server: RedisServer, clock: Clock, progress: str
) -> None:
    store, client = redis_store(server, clock), server.client()
    job = submit_with_progress(store, clock, progress)
    before = get_job(store, job).shards
    rewrite(client, f"errata:job:{job}", "spec", schema=SCHEMA + 1)

    assert store.claim_next((job, 0), "older") == (Claim(ClaimOutcome.WAIT, delay=5.0), None, 0)

    rewrite(client, f"errata:job:{job}", "spec", schema=SCHEMA)
    assert get_job(store, job).shards == (replace(before[0], sent=clock.now + 5), *before[1:])


def test_an_older_version_does_not_cancel_an_analysis_that_it_cannot_read(server: RedisServer, clock: Clock) -> None:
    store, client = redis_store(server, clock), server.client()
    submit(store, "a")
    rewrite(client, "errata:analysis:a", "entry", schema=SCHEMA + 1)
    before = read_all_keys(client)

    with pytest.raises(NewerRecord, match="the open analysis a"):
        store.cancel("a", "not needed")

    assert read_all_keys(client) == before


def test_an_older_version_does_not_join_a_newer_versions_job(server: RedisServer, clock: Clock) -> None:
    store, client = redis_store(server, clock), server.client()
    newer = submit(store, "a").job
    rewrite(client, f"errata:job:{newer}", "spec", schema=SCHEMA + 1)

    submission = submit(store, "b")

    assert submission.outcome is Outcome.NEW
    assert client.smembers(f"errata:job:{newer}:analyses") == {b"a"}
    assert state_of(store, "b") is State.QUEUED


def test_the_version_that_wrote_a_record_can_claim_and_cancel_it(
    server: RedisServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, client = redis_store(server, clock), server.client()
    job = submit(store, "a").job
    rewrite(client, f"errata:job:{job}", "spec", schema=SCHEMA + 1)
    rewrite(client, "errata:analysis:a", "entry", schema=SCHEMA + 1)
    monkeypatch.setattr("service.jobs.records.SCHEMA", SCHEMA + 1)

    claim_token(store, job)
    assert store.cancel("a", "not needed") is True


def test_fields_of_a_newer_version_are_ignored(server: RedisServer) -> None:
    client = server.client()
    client.flushall()
    store = RedisJobStore(connect(server.url, 2.0))
    job = submit(store, "a").job
    for key, name in (("errata:analysis:a", "entry"), (f"errata:job:{job}", "spec")):
        document = json.loads(client.hget(key, name)) | {"added_later": 1}
        client.hset(key, name, json.dumps(document))

    result = store.snapshot("a")
    assert result is not None
    assert result.job == store.job(job)


BROKEN = ["{", "[]", "null", "5", "[" * 50_000, "{}"]


@pytest.mark.parametrize(
    "change",
    [
        *({"entry": entry} for entry in BROKEN),
        {"entry": b"\xff\xfe"},
        {"state": "NOPE"},
        {"ended": "inf"},
        {"failure": "[]"},
        {"failure": '{"reason": 5, "message": "x"}'},
        {"failure": '{"reason": "x", "message": "\\ud800"}'},
        *({"created": created} for created in ("soon", float("nan"), 1e300, -1)),
        {"display_name": 5},
        {"display_name": "\ud800"},
        {"labels": {"a": 1}},
    ],
    ids=lambda change: str(change)[:40],
)
def test_a_damaged_record_is_not_listed_and_logged_once(server: RedisServer, change: dict[str, Any]) -> None:
    client = server.client()
    client.flushall()
    store = RedisJobStore(connect(server.url, 2.0))
    submit(store, "a")
    submit(store, "b", key="other")
    (name, value), key = next(iter(change.items())), "errata:analysis:a"
    if name in ("entry", "state", "ended", "failure"):
        client.hset(key, name, value)
    else:
        document = json.loads(client.hget(key, "entry"))
        (document if name == "created" else document["request"])[name] = value
        client.hset(key, "entry", json.dumps(document))

    with structlog.testing.capture_logs() as log:
        for _ in range(3):
            assert [entry.record.id for entry in store.snapshots()] == ["b"]
        with pytest.raises(DamagedRecord, match="the open analysis a"):
            store.snapshot("a")
    assert [event["log_level"] for event in log] == ["error"], "logged more than once"


@pytest.mark.parametrize("spec", BROKEN)
def test_a_damaged_job_is_reported(server: RedisServer, spec: str) -> None:
    client = server.client()
    client.flushall()
    store = RedisJobStore(connect(server.url, 2.0))
    job = submit(store, "a").job
    client.hset(f"errata:job:{job}", "spec", spec)

    with pytest.raises(DamagedRecord):
        store.job(job)
    assert list(store.snapshots()) == []


def test_a_damaged_number_of_shards_does_not_block_redis(server: RedisServer) -> None:
    client = server.client()
    client.flushall()
    store = RedisJobStore(connect(server.url, 20.0))
    job = submit(store, "a").job
    client.hset(f"errata:job:{job}", "shards", "1e11")

    with pytest.raises(DamagedRecord):
        store.job(job)
    assert store.ping()


@pytest.mark.parametrize(("name", "value"), [("started", "nan"), ("started", "1e400"), ("left", "9" * 400)])
def test_a_job_with_numbers_that_nothing_can_represent_is_damaged(server: RedisServer, name: str, value: str) -> None:
    client = server.client()
    client.flushall()
    store = RedisJobStore(connect(server.url, 2.0))
    job = submit(store, "a").job
    client.hset(f"errata:job:{job}", name, value)

    with pytest.raises(DamagedRecord):
        store.job(job)
    assert list(store.snapshots()) == []


DAMAGED_JOBS = {"created": "soon", "failure": "[]", "state": "NOPE", "shards": "100000000000", "left": b"\xff"}


@pytest.mark.parametrize("name", DAMAGED_JOBS)
def test_an_analysis_of_a_damaged_job_is_canceled_and_computed_again(server: RedisServer, name: str) -> None:
    client = server.client()
    client.flushall()
    store = RedisJobStore(connect(server.url, 2.0))
    job = submit(store, "a").job
    client.hset(f"errata:job:{job}", name, DAMAGED_JOBS[name])

    assert submit(store, "b").outcome is Outcome.NEW
    assert store.cancel("a", "not needed")
    assert client.zrange("errata:open:analyses", 0, -1) == [b"b"]
    for name in ("open:models", "open:jobs"):
        assert not [member for member in client.zrange(f"errata:{name}", 0, -1) if member.startswith(job.encode())]
    assert store.change_shard(transitions.claim, job, 0, "w", 10.0).kind is ClaimOutcome.SKIP


def test_a_damaged_record_ends_with_its_job(server: RedisServer) -> None:
    client = server.client()
    client.flushall()
    store = RedisJobStore(connect(server.url, 2.0))
    job = submit(store, "a").job
    client.hset("errata:analysis:a", "state", "NOPE")

    assert store.change_shard(transitions.fail, job, 0, claim_token(store, job), OOPS)

    assert client.zcard("errata:open:analyses") == 0
    snapshot = store.snapshot("a")
    assert snapshot is not None
    assert (snapshot.record.state, snapshot.record.failure) == (State.FAILED, OOPS)


@pytest.mark.parametrize("damage", ["job", "request", "outbox"])
def test_a_damaged_record_does_not_keep_others_from_being_deleted(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr(transitions, "MAX_FINISHED", 2)
    client = server.client()
    client.flushall()
    store = RedisJobStore(connect(server.url, 2.0))
    jobs = [submit(store, f"a{number}", key=f"{number}", request_id=f"r{number}").job for number in range(4)]
    for number in range(2):
        store.cancel(f"a{number}", "not needed")
    match damage:
        case "job":
            client.hset(f"errata:job:{jobs[0]}", "created", "soon")
        case "request":
            client.hset("errata:request:r0", "digest", b"\xff")
        case "outbox":
            store.run(lambda tx: tx.add_to_outbox("a0"))
            damaged: Any = "many"
            store.run(lambda tx: tx.update_outbox_item(OutboxItem("a0", damaged), 1.0))
            assert store.next_outbox_item(0.0) == OutboxItem("a0", 0, jobs[0])

    for number in (2, 3):
        assert store.cancel(f"a{number}", "not needed")

    pending = {"a0"} if damage == "outbox" else set()  # its result is still to be written back
    assert record_ids(store) == {"a2", "a3"} | pending


def test_unknown_names_among_the_shards_do_not_keep_others_from_being_sent_again(server: RedisServer) -> None:
    client = server.client()
    client.flushall()
    clock = Clock()
    store = RedisJobStore(connect(server.url, 2.0), clock)
    for key in ("open:models", "leases"):
        client.zadd(f"errata:{key}", {"unknown": 1.0, b"\xff:1": 1.0})
    job = submit(store, "a", of=spec(total=4)).job
    claim_token(store, job)
    clock.advance(DAY)

    assert store.mark_lost_messages(["models"]) == [(job, 0)]
    claim, _, index = store.claim_next(("unknown", 1), "w2")
    assert (claim.kind, index) == (ClaimOutcome.CLAIMED, 0)


def test_a_damaged_job_does_not_keep_others_from_being_sent_again(server: RedisServer) -> None:
    client = server.client()
    client.flushall()
    clock = Clock()
    store = RedisJobStore(connect(server.url, 2.0), clock)
    jobs = [submit(store, id, key=id, of=spec(total=4)).job for id in ("a", "b", "c")]
    client.hset(f"errata:job:{jobs[1]}", "created", "soon")
    clock.advance(DAY)

    assert {*store.mark_lost_messages(["models"])} == {(jobs[0], 0), (jobs[2], 0)}


def test_a_postponed_judging_is_not_lost_until_its_message_is_due(store: JobStore, clock: Clock) -> None:
    job = submit(store, "a", of=spec(total=4)).job
    store.change_shard(transitions.finish, job, 0, claim_token(store, job), shard_result(4))
    store.change_job(transitions.postpone_judging, job, DAY)
    clock.advance(DAY)
    assert store.mark_lost_messages([JUDGING]) == []

    clock.advance(store.heartbeat_timeout)
    assert store.mark_lost_messages([JUDGING]) == [(job, None)]


def test_the_search_for_lost_messages_does_not_read_each_job(
    store: JobStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        submit(store, f"a{number}", key=f"k{number}", of=spec(total=4))
    read, reads = store._backend.read, list[object]()
    monkeypatch.setattr(store._backend, "read", lambda commands: reads.append(commands) or read(commands))

    assert store.mark_lost_messages([MODELS, JUDGING]) == []
    assert len(reads) <= 4


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


@pytest.mark.parametrize("offer", [*BROKEN, '{"models": "ab", "datasets": [], "runtime": ""}'])
def test_a_damaged_offer_is_ignored(server: RedisServer, offer: str) -> None:
    client = server.client()
    client.flushall()
    store = RedisJobStore(connect(server.url, 2.0))
    good = WorkerOffer((("demo:x", "a model"),), ("demo",), "timm 1")
    for worker in ("w1", "w2"):
        store.heartbeat(worker, good)
    client.set("errata:offers:w2", offer)

    assert list(store.offers()) == [good]


@pytest.mark.parametrize("content", [zlib.compress(bytes(300 << 20), 1), b"junk", zlib.compress(b"\xff")])
def test_damaged_image_names_are_reported(server: RedisServer, content: bytes) -> None:
    server.client().set("errata:images:d1", content)

    with pytest.raises(DamagedRecord):
        RedisJobStore(connect(server.url, 5.0)).image_names("d1")


@pytest.mark.parametrize("text", ["", '["a","apple"]', '["a","apple"]\n["a","pear"]', "[" * 100_000 + "\n[]"])
def test_damaged_classes_are_reported(server: RedisServer, text: str) -> None:
    server.client().set("errata:classes:d1", zlib.compress(text.encode()))

    with pytest.raises(DamagedRecord):
        RedisJobStore(connect(server.url, 5.0)).label_space("d1")


def test_damaged_cached_predictions_are_ignored(server: RedisServer) -> None:
    store = RedisJobStore(connect(server.url, 2.0))
    store.store_shard_result("k", shard_result(4))
    assert store.cached_shard_result("k") is not None
    whole = server.client().get("errata:predictions:k")
    objects = io.BytesIO()
    np.savez(objects, top1=np.array([Path()], dtype=object), allow_pickle=True)
    arrays = {
        "floats": {"top1": np.zeros(4)},
        "a class that isn't": {"top1": np.full(4, 32_767, dtype=np.int16)},
        "two axes": {"top1": np.zeros((4, 1), dtype=np.int16)},
        "chances that are text": {"top1": np.zeros(4, dtype=np.int16), "probability": np.full(4, "x")},
    }
    bad = [b"", b"junk", pickle.dumps({}), whole[:-30], objects.getvalue()]
    for values in arrays.values():
        file = io.BytesIO()
        np.savez(file, info=np.frombuffer(b"{}", dtype=np.uint8), **values)
        bad.append(file.getvalue())
    packed = io.BytesIO()
    np.savez_compressed(packed, top1=np.zeros(1 << 20, dtype=np.int16))

    for content in (*bad, packed.getvalue()):
        server.client().set("errata:predictions:k", content)
        assert store.cached_shard_result("k") is None


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


def test_shard_results_are_cached_by_key(store: JobStore) -> None:
    info = ModelInfo("demo:m", "net", "0" * 64, "t")
    key = spec().shard_result_key(info, "d" * 64)
    assert store.cached_shard_result(key) is None

    store.store_shard_result(key, shard_result(4, first=4))

    cached = store.cached_shard_result(key)
    assert cached is not None
    assert cached.predictions.top1.tolist() == [4, 5, 6, 7]
    assert cached.model_info == info


def test_different_weights_transforms_or_images_have_different_keys() -> None:
    info, images = ModelInfo("demo:m", "net", "0" * 64, "t"), "d" * 64
    keys = [
        spec().shard_result_key(info, images),
        spec().shard_result_key(info, "e" * 64),
        spec().shard_result_key(replace(info, weights_sha256="1" * 64), images),
        spec().shard_result_key(replace(info, transform="u"), images),
        spec().shard_result_key(replace(info, settings_sha256="2" * 64), images),
    ]

    assert len(set(keys)) == len(keys)
    assert replace(spec(), model="demo:same_weights_by_another_name").shard_result_key(info, images) == keys[0]


def test_the_analysis_of_a_result_is_cached(store: JobStore) -> None:
    assert store.cached_result("k" * 64) is None

    store.store_result("k" * 64, "a1")
    store.store_result("k" * 64, "a2")

    assert store.cached_result("k" * 64) == "a2"
    assert store.cached_result("l" * 64) is None


# outbox


def submit_for(store: JobStore, id: str, owner: str, request_id: str = "", limit: int = 1000) -> Submission:
    """Submit an analysis of an owner, in its own job."""
    record = AnalysisRecord(
        id, AnalysisRequest("demo", "demo:m", request_id=request_id), "body", "e" * 64, 0.0, owner=owner
    )
    return store.submit(record, replace(spec(), model=f"demo:{id}"), limit=limit)


def submit_ended(store: JobStore, *ids: str, owner: str = "registry:x") -> None:
    """Submit and cancel analyses of a registry."""
    for id in ids:
        submit_for(store, id, owner)
        store.cancel(id, "")


def lease_due_items(store: JobStore, lease: float = LEASE_SECONDS) -> dict[str, int]:
    """Lease the due outbox items; return the failed attempts by analysis."""
    items = [item for _ in range(4) if (item := store.next_outbox_item(lease))]
    assert len({item.analysis for item in items}) == len(items)
    return {item.analysis: item.attempts for item in items}


def outbox_item(store: JobStore, id: str) -> OutboxItem:
    """Return the outbox item of an analysis, as a lease would return it now."""
    return store.run(lambda tx: tx.outbox_item(id)) or OutboxItem(id, 0)


def test_only_ended_analyses_of_registries_are_due(store: JobStore) -> None:
    for id, owner in {"a": "registry:x", "b": "", "c": "registry", "d": "user@registry:x"}.items():
        submit_for(store, id, owner)
    assert lease_due_items(store) == {}  # all are open
    for id in "abcd":
        store.cancel(id, "")

    assert lease_due_items(store) == {"a": 0}


def test_rejected_and_repeated_requests_add_no_outbox_item(store: JobStore) -> None:
    submit_for(store, "a", "registry:x", request_id="r", limit=1)

    assert submit_for(store, "b", "registry:x", request_id="r", limit=1).outcome is Outcome.REPEATED
    assert submit_for(store, "c", "registry:x", limit=1).outcome is Outcome.FULL
    store.cancel("a", "")

    assert lease_due_items(store) == {"a": 0}


def test_an_analysis_that_joins_a_job_gets_an_outbox_item(store: JobStore) -> None:
    for id in ("a", "b"):
        record = AnalysisRecord(id, AnalysisRequest("demo", "demo:m"), "body", "e" * 64, 0.0, owner="registry:x")
        store.submit(record, spec(), limit=10)
    store.cancel("a", "")
    assert lease_due_items(store) == {"a": 0}
    store.cancel("b", "")

    assert lease_due_items(store) == {"b": 0}


def test_a_reservation_adds_an_outbox_item_only_on_request(store: JobStore) -> None:
    store.reserve("r", "body", "a", needs_write_back=True)
    store.reserve("s", "body", "b")
    store.reserve("t", "body", "c", needs_write_back=False)

    assert lease_due_items(store) == {"a": 0}
    assert [store.has_outbox_item(id) for id in ("a", "b")] == [True, False]


@pytest.mark.parametrize("body", ["body", "another"], ids=["repeated", "reused"])
def test_a_repeated_reservation_adds_no_outbox_item(store: JobStore, clock: Clock, body: str) -> None:
    store.reserve("r", "body", "a", needs_write_back=True)
    store.delete_outbox_item(outbox_item(store, "a"))

    assert store.reserve("r", body, "b", needs_write_back=True).analysis == "a"

    clock.advance(DAY)
    assert lease_due_items(store) == {}


def test_a_leased_item_is_not_due_until_the_lease_expires(store: JobStore, clock: Clock) -> None:
    submit_ended(store, "a")

    assert lease_due_items(store, lease=60) == {"a": 0}
    assert lease_due_items(store, lease=60) == {}
    clock.advance(59)
    assert lease_due_items(store, lease=60) == {}
    clock.advance(1)
    assert lease_due_items(store, lease=60) == {"a": 0}  # an expired lease does not count as a failed attempt
    clock.advance(59)
    assert lease_due_items(store, lease=60) == {}


def test_one_of_many_concurrent_calls_leases_an_item(store: JobStore) -> None:
    submit_ended(store, "a", "b")

    leased = call_concurrently(16, lambda _: store.next_outbox_item(LEASE_SECONDS))

    assert sorted(item.analysis for item in leased if item) == ["a", "b"]


def test_one_of_many_concurrent_holders_leases_a_registry(store: JobStore) -> None:
    leased = call_concurrently(16, lambda holder: store.lease_registry("x", f"holder {holder}", LEASE_SECONDS))

    assert sorted(leased) == [False] * 15 + [True]


def test_a_registry_has_one_holder_until_its_lease_ends(store: JobStore, clock: Clock) -> None:
    assert store.lease_registry("x", "a", 60)
    assert store.lease_registry("y", "b", 60)  # another registry
    assert not store.lease_registry("x", "b", 60)
    assert store.lease_registry("x", "a", 60)  # the same holder
    store.release_registry("x", "b")
    assert not store.lease_registry("x", "b", 60)

    store.release_registry("x", "a")
    assert store.lease_registry("x", "b", 60)

    pass_time(store, clock, 60)
    assert store.lease_registry("x", "a", 60)
    store.release_registry("x", "b")  # too late
    assert not store.lease_registry("x", "b", 60)


def test_a_postponed_item_is_due_later_and_only_failures_are_counted(store: JobStore, clock: Clock) -> None:
    submit_ended(store, "a")
    for failed, attempts in ((True, 1), (False, 1), (True, 2), (False, 2)):
        lease_due_items(store)
        store.postpone_outbox_item(outbox_item(store, "a"), 5, failed=failed)
        clock.advance(4.5)
        assert lease_due_items(store) == {}
        clock.advance(0.5)
        assert store.next_outbox_item(0.0) == replace(outbox_item(store, "a"), attempts=attempts)


def test_a_postponed_item_does_not_delay_another(store: JobStore) -> None:
    submit_ended(store, "a", "b")
    store.postpone_outbox_item(outbox_item(store, "a"), 100, failed=True)

    assert lease_due_items(store) == {"b": 0}


def test_a_deleted_item_is_never_due_even_if_it_is_postponed_later(store: JobStore, clock: Clock) -> None:
    submit_ended(store, "a")
    lease_due_items(store)
    store.delete_outbox_item(outbox_item(store, "a"))
    store.delete_outbox_item(outbox_item(store, "a"))
    store.postpone_outbox_item(outbox_item(store, "a"), 1, failed=True)
    store.postpone_outbox_item(outbox_item(store, "a"), 1, failed=False)
    store.delete_outbox_item(outbox_item(store, "unknown"))
    store.postpone_outbox_item(outbox_item(store, "unknown"), 1, failed=True)

    clock.advance(DAY)

    assert lease_due_items(store) == {}


@pytest.mark.parametrize("end", ["succeeded", "cancelled", "failed"])
def test_an_ended_analysis_is_due_immediately(store: JobStore, clock: Clock, end: str) -> None:
    job = submit_for(store, "a", "registry:x").job
    assert lease_due_items(store) == {}
    claim_token(store, job, shard=1)
    clock.advance(1)
    assert lease_due_items(store) == {}
    if end == "succeeded":
        clock.advance(LEASE_SECONDS)
        run_all(store, job)
        assert lease_due_items(store) == {}  # it must be judged and archived first
        store.change_job(transitions.finish_judging, job, claim_judging(store, job) or 0)
    elif end == "cancelled":
        store.cancel("a", "")
    else:
        store.change_shard(transitions.fail, job, 0, claim_token(store, job), OOPS)

    assert lease_due_items(store) == {"a": 0}


def test_an_outbox_item_that_is_deleted_meanwhile_leaves_nothing(store: JobStore) -> None:
    submit_ended(store, "a")

    def postpone(tx: JobTransaction) -> None:
        item = tx.outbox_item("a")
        store.delete_outbox_item(outbox_item(store, "a"))
        if item is not None:
            tx.update_outbox_item(item, tx.now)

    store.run(postpone)

    assert store._backend.read([("HMGET", "errata:owed:tries", "a")]) == [[None]]


def test_outbox_items_do_not_expire_with_records(store: JobStore, clock: Clock) -> None:
    store.reserve("r", "body", "a", needs_write_back=True)
    store.postpone_outbox_item(outbox_item(store, "a"), 1, failed=True)

    pass_time(store, clock, 8 * DAY)
    submit(store, "new", created=clock.now)

    assert lease_due_items(store) == {"a": 1}


def test_a_retried_analysis_gets_a_new_outbox_item_without_attempts(store: JobStore) -> None:
    job = submit_for(store, "a", "registry:x").job
    store.postpone_outbox_item(outbox_item(store, "a"), 1, failed=True)
    store.delete_outbox_item(outbox_item(store, "a"))
    store.change_shard(transitions.fail, job, 0, claim_token(store, job), OOPS)
    record = AnalysisRecord("a", AnalysisRequest("demo", "demo:m"), "body", "e" * 64, 0.0, owner="registry:x")

    assert store.resubmit(record, replace(spec(), model="demo:a"), limit=10) is not None
    assert lease_due_items(store) == {}
    store.cancel("a", "")

    assert lease_due_items(store) == {"a": 0}


@pytest.mark.parametrize("end", ["open", "failed", "succeeded"])
def test_an_item_of_a_retried_analysis_outlives_the_lease_before_the_retry(
    store: JobStore, clock: Clock, end: str
) -> None:
    """Given a retry while the failed result is written, the end of that write changes no item."""
    job = submit_for(store, "a", "registry:x").job
    store.change_shard(transitions.fail, job, 0, claim_token(store, job), OOPS)
    item = store.next_outbox_item(LEASE_SECONDS) or OutboxItem("", 0)
    record = AnalysisRecord("a", AnalysisRequest("demo", "demo:m"), "body", "e" * 64, 0.0, owner="registry:x")
    submission = store.resubmit(record, replace(spec(), model="demo:a"), limit=10)
    assert submission is not None
    if end == "failed":
        store.change_shard(transitions.fail, submission.job, 0, claim_token(store, submission.job), OOPS)
    elif end == "succeeded":
        run_all(store, submission.job)
        store.change_job(transitions.finish_judging, submission.job, claim_judging(store, submission.job) or 0)

    store.postpone_outbox_item(item, DAY, failed=True)
    store.delete_outbox_item(item)

    if end == "open":
        store.cancel("a", "")
    assert lease_due_items(store) == {"a": 0}


def test_a_retried_analysis_without_a_registry_gets_no_outbox_item(store: JobStore) -> None:
    submit_failed(store)

    assert resubmit(store) is not None
    store.cancel("a", "")

    assert lease_due_items(store) == {}


def test_the_trace_of_a_request_is_stored_with_its_analysis_and_its_job(store: JobStore) -> None:
    request = AnalysisRequest("demo", "demo:m")
    first = AnalysisRecord("a", request, "body", "e" * 64, 0.0, trace="00-1-2-01 vendor=1")
    second = AnalysisRecord("b", request, "body", "e" * 64, 0.0, trace="00-3-4-01")
    job = store.submit(first, replace(spec(), trace=first.trace), limit=10).job
    joined = store.submit(second, replace(spec(), trace=second.trace), limit=10)

    assert joined.outcome is Outcome.JOINED  # the trace does not change what is computed
    snapshots = [store.snapshot(id) for id in ("a", "b")]
    assert [snapshot and snapshot.record.trace for snapshot in snapshots] == [first.trace, second.trace]
    assert get_job(store, job).spec.trace == first.trace


def record_of_delivery(id: str, request_id: str, delivery: str) -> AnalysisRecord:
    request = AnalysisRequest("demo", "demo:m", request_id=request_id)
    return AnalysisRecord(id, request, "body", "e" * 64, 0.0, delivery=delivery)


def test_a_repeated_delivery_returns_the_first_analysis_for_any_request(store: JobStore) -> None:
    first, other = record_of_delivery("a", "r1", "prod:d1"), record_of_delivery("b", "r2", "prod:d1")
    assert store.submit(first, spec(), limit=10).outcome is Outcome.NEW

    repeated = store.submit(other, spec(), limit=10)
    reserved = store.reserve("r3", "body", "c", delivery="prod:d1")

    assert [(submission.outcome, submission.analysis) for submission in (repeated, reserved)] == [
        (Outcome.REPEATED, "a")
    ] * 2
    assert store.snapshot("b") is None
    assert store.reserve("r3", "body", "c", delivery="prod:d2").outcome is Outcome.NEW
    assert store.submit(record_of_delivery("b", "r2", "prod:d2"), spec(), limit=10).analysis == "c"


def test_a_delivery_rejected_at_the_limit_can_be_repeated(store: JobStore) -> None:
    store.submit(record_of_delivery("a", "r1", ""), spec(), limit=1)
    refused = record_of_delivery("b", "r2", "prod:d1")

    assert store.submit(refused, spec(), limit=1).outcome is Outcome.FULL
    assert store.submit(refused, spec(), limit=2).outcome is Outcome.JOINED


def test_a_database_that_redis_lacks_is_reported_with_the_setting_and_without_a_traceback(server: RedisServer) -> None:
    backend = RedisBackend(connect(f"redis://127.0.0.1:{server.port}/99", timeout=10))

    with (
        structlog.testing.capture_logs() as logs,
        pytest.raises(Unavailable, match=r"Correct its number in ERRATA_REDIS_URL"),
    ):
        backend.memory_usage()

    assert logs == []
    backend.client.connection_pool.disconnect()

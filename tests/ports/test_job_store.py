"""One suite for every job store: what design/jobs.md promises of submit, claim, fences, leases, cancel and judging."""

import io
import json
import pickle
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import resources
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
from redis_server import RedisServer

from service.domain import AnalysisRequest, Failure, ModelInfo, Predictions, State
from service.jobs import transitions
from service.jobs.memory import InMemoryJobStore
from service.jobs.redis_records import SCHEMA
from service.jobs.redis_store import BATCH, RedisJobStore, connect
from service.jobs.store import Depth, JobStore, Outcome, Submission, WorkerOffer
from service.jobs.transitions import AnalysisRecord, ClaimKind, Job, JobSpec, LeaseReply, ShardResult

WRITTEN = Path(__file__).parent / "written"  # keys of a Redis as earlier versions left it
LEASE = 20.0
DAY = 86_400.0
OOPS = Failure("OOPS", "it broke")


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    running = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield running
    running.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make(kind: str, clock: Clock, server: RedisServer) -> JobStore:
    """A store that is empty."""
    if kind == "memory":
        return InMemoryJobStore(clock)
    client = connect(server.url, timeout=10)
    client.flushall()
    return RedisJobStore(client, clock)


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, clock: Clock, server: RedisServer) -> Iterator[JobStore]:
    made = make(request.param, clock, server)
    yield made
    if isinstance(made, RedisJobStore):
        made._client.connection_pool.disconnect()  # sockets that are left open are an error at pytest's end


def pass_time(store: JobStore, clock: Clock, seconds: float) -> None:
    """Let time pass, for what Redis itself lets end too."""
    clock.advance(seconds)
    if isinstance(store, RedisJobStore):
        client = store._client
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
) -> Submission:
    record = AnalysisRecord(id, AnalysisRequest("demo", "demo:m", request_id=request_id), body, "e" * 64, created)
    return store.submit(record, replace(of or spec(), model=f"demo:{key}"), fresh=fresh, limit=limit)


def part(size: int, first: int = 0) -> ShardResult:
    return ShardResult(
        Predictions(np.arange(first, first + size, dtype=np.int16)), ModelInfo("demo:m", "net", "0" * 64, "t")
    )


def claimed(store: JobStore, job: str, shard: int = 0, worker: str = "w1") -> int:
    claim = store.claim(job, shard, worker, LEASE)
    assert claim.kind is ClaimKind.TAKEN
    return claim.fencing_token


def run_all(store: JobStore, job: str) -> None:
    """Predict every shard of a job."""
    result = store.job(job)
    assert result is not None
    for shard in range(result.spec.num_shards):
        start, stop = result.spec.bounds(shard)
        store.finish_shard(job, shard, claimed(store, job, shard), part(stop - start, start))


def the_job(store: JobStore, job: str) -> Job:
    result = store.job(job)
    assert result is not None
    return result


def state_of(store: JobStore, analysis: str) -> State | None:
    result = store.snapshot(analysis)
    return result.record.state if result else None


def at_once(count: int, call: Callable[[int], Any]) -> list[Any]:
    """Call from `count` threads that start together."""
    gate = Barrier(count)

    def wait_and_call(number: int) -> Any:
        gate.wait(10)
        return call(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(wait_and_call, range(count)))


# submit


def test_a_first_request_makes_a_job_of_all_its_shards(store: JobStore) -> None:
    said = submit(store, "a", of=spec(total=10, shard_size=4))

    assert (said.outcome, said.analysis) == (Outcome.NEW, "a")
    job = the_job(store, said.job)
    assert [shard.state for shard in job.shards] == [State.QUEUED] * 3
    assert (job.done, job.left, job.analyses) == (0, 3, {"a"})
    assert state_of(store, "a") is State.QUEUED


def test_an_equal_request_joins_the_open_job(store: JobStore) -> None:
    first, second = submit(store, "a"), submit(store, "b")

    assert (second.outcome, second.analysis, second.job) == (Outcome.JOINED, "b", first.job)
    assert the_job(store, first.job).analyses == {"a", "b"}


def test_a_request_joins_a_job_that_runs(store: JobStore) -> None:
    first = submit(store, "a")
    claimed(store, first.job)

    assert submit(store, "b").job == first.job


def test_another_computation_is_another_job(store: JobStore) -> None:
    first, second = submit(store, "a", key="one"), submit(store, "b", key="two")

    assert second.outcome is Outcome.NEW
    assert first.job != second.job


def test_fresh_neither_joins_nor_is_joined(store: JobStore) -> None:
    plain = submit(store, "a")
    fresh = submit(store, "b", fresh=True)
    fresh_too = submit(store, "c", fresh=True)
    plain_too = submit(store, "d")

    assert [item.outcome for item in (plain, fresh, fresh_too, plain_too)] == [
        Outcome.NEW,
        Outcome.NEW,
        Outcome.NEW,
        Outcome.JOINED,
    ]
    assert plain_too.job == plain.job
    assert len({plain.job, fresh.job, fresh_too.job}) == 3


def test_nothing_joins_a_job_that_was_asked_for_fresh(store: JobStore) -> None:
    fresh = submit(store, "a", fresh=True)
    plain = submit(store, "b")

    assert plain.outcome is Outcome.NEW
    assert plain.job != fresh.job


def test_the_end_of_a_fresh_job_leaves_the_others_to_be_joined(store: JobStore) -> None:
    plain = submit(store, "a")
    submit(store, "b", fresh=True)
    store.cancel("b", "why not")

    assert submit(store, "c").job == plain.job


def test_of_200_at_once_against_50_exactly_50_are_let_in(store: JobStore) -> None:
    said = at_once(200, lambda number: submit(store, f"a{number}", key=f"k{number % 70}", limit=50))

    outcomes = Counter(item.outcome for item in said)
    assert outcomes[Outcome.FULL] == 150
    assert outcomes[Outcome.NEW] + outcomes[Outcome.JOINED] == 50
    accepted = {item.analysis for item in said if item.outcome is not Outcome.FULL}
    assert {snapshot.record.id for snapshot in store.entries()} == accepted
    assert {item.open for item in said if item.outcome is Outcome.FULL} == {50}


def test_50_equal_requests_at_once_are_50_analyses_and_one_job(store: JobStore) -> None:
    said = at_once(50, lambda number: submit(store, f"a{number}"))

    assert Counter(item.outcome for item in said) == {Outcome.NEW: 1, Outcome.JOINED: 49}
    assert len({item.job for item in said}) == 1
    assert len(the_job(store, said[0].job).analyses) == 50


def test_who_is_refused_leaves_no_trace(store: JobStore) -> None:
    submit(store, "a", key="one", limit=1)
    refused = submit(store, "b", key="two", request_id="r", limit=1)

    assert (refused.outcome, refused.open) == (Outcome.FULL, 1)
    assert store.snapshot("b") is None
    store.cancel("a", "make room")
    assert submit(store, "c", key="two", request_id="r", body="another", limit=1).outcome is Outcome.NEW


@pytest.mark.parametrize("end", ["cancelled", "failed", "succeeded"])
def test_an_analysis_that_ends_makes_room_and_is_not_joined(store: JobStore, end: str) -> None:
    first = submit(store, "a", limit=1)
    if end == "cancelled":
        store.cancel("a", "make room")
    elif end == "failed":
        store.fail(first.job, 0, claimed(store, first.job), OOPS)
    else:
        run_all(store, first.job)
        store.finish(first.job, store.claim_judging(first.job) or 0)

    second = submit(store, "b", limit=1)

    assert second.outcome is Outcome.NEW
    assert second.job != first.job


def test_a_request_id_that_comes_again_gives_the_same_analysis_even_when_full(store: JobStore) -> None:
    submit(store, "a", request_id="r", limit=1)
    again = submit(store, "b", request_id="r", limit=1)

    assert (again.outcome, again.analysis) == (Outcome.REPEATED, "a")
    assert store.snapshot("b") is None


def test_a_request_id_with_another_body_is_told(store: JobStore) -> None:
    submit(store, "a", request_id="r", body="one")

    assert submit(store, "b", request_id="r", body="two").outcome is Outcome.REUSED
    assert store.snapshot("b") is None


def test_a_request_without_an_id_is_never_a_repetition(store: JobStore) -> None:
    submit(store, "a", request_id="")

    assert submit(store, "b", request_id="").analysis == "b"
    assert store.reserve("", "body", "c").outcome is Outcome.NEW
    assert store.reserve("", "another", "d").outcome is Outcome.NEW


def test_the_same_request_id_from_many_threads_makes_one_analysis(store: JobStore) -> None:
    said = at_once(32, lambda number: submit(store, f"a{number}", request_id="r"))

    assert Counter(item.outcome for item in said) == {Outcome.NEW: 1, Outcome.REPEATED: 31}
    assert len({item.analysis for item in said}) == 1
    assert len(store.entries()) == 1


def test_a_reserved_request_id_counts_for_uploads_and_models_alike(store: JobStore) -> None:
    assert store.reserve("r", "body", "u1").outcome is Outcome.NEW

    again = store.reserve("r", "body", "u2")
    assert (again.outcome, again.analysis) == (Outcome.REPEATED, "u1")
    assert store.reserve("r", "another", "u3").outcome is Outcome.REUSED
    assert submit(store, "a", request_id="r", body="another").outcome is Outcome.REUSED


def test_a_released_request_id_is_free_for_another_body(store: JobStore) -> None:
    store.reserve("r", "body", "u1")
    store.reserve("s", "body", "u2")

    store.release("r")

    assert store.reserve("r", "another", "u3").outcome is Outcome.NEW
    assert store.reserve("s", "another", "u4").outcome is Outcome.REUSED


@pytest.mark.parametrize("request_id", ["", "never came"])
def test_releasing_what_is_not_reserved_changes_nothing(store: JobStore, request_id: str) -> None:
    store.reserve("r", "body", "u1")

    store.release(request_id)

    assert store.reserve("r", "body", "u2").analysis == "u1"


# claim, lease, fence


def test_a_claim_takes_the_shard_and_sets_all_running(store: JobStore, clock: Clock) -> None:
    said = submit(store, "a")
    submit(store, "b")

    claim = store.claim(said.job, 1, "w1", LEASE)

    assert (claim.kind, claim.fencing_token) == (ClaimKind.TAKEN, 1)
    job = the_job(store, said.job)
    assert (job.state, job.started) == (State.RUNNING, clock.now)
    assert [shard.state for shard in job.shards] == [State.QUEUED, State.RUNNING, State.QUEUED]
    assert (job.shards[1].worker, job.shards[1].lease) == ("w1", clock.now + LEASE)
    assert {state_of(store, "a"), state_of(store, "b")} == {State.RUNNING}


def test_a_shard_of_a_living_worker_is_waited_for(store: JobStore, clock: Clock) -> None:
    job = submit(store, "a").job
    claimed(store, job)
    clock.advance(5)

    claim = store.claim(job, 0, "w2", LEASE)

    assert claim.kind is ClaimKind.WAIT
    assert claim.delay == pytest.approx(LEASE - 5)
    assert the_job(store, job).shards[0].worker == "w1"


def test_one_of_many_threads_gets_the_shard(store: JobStore) -> None:
    job = submit(store, "a").job

    claims = at_once(24, lambda number: store.claim(job, 0, f"w{number}", LEASE))

    assert Counter(claim.kind for claim in claims) == {ClaimKind.TAKEN: 1, ClaimKind.WAIT: 23}


def test_two_workers_share_one_job(store: JobStore) -> None:
    job = submit(store, "a").job

    assert claimed(store, job, 0, "w1") == 1
    assert claimed(store, job, 1, "w2") == 1
    assert [shard.worker for shard in the_job(store, job).shards] == ["w1", "w2", ""]


def test_a_job_that_nobody_knows_is_skipped(store: JobStore) -> None:
    assert store.claim("no-such-job", 0, "w1", LEASE).kind is ClaimKind.SKIP
    assert store.job("no-such-job") is None
    assert store.snapshot("no-such-analysis") is None


def test_a_shard_that_is_done_is_skipped(store: JobStore) -> None:
    job = submit(store, "a").job
    store.finish_shard(job, 0, claimed(store, job), part(4))

    assert store.claim(job, 0, "w2", LEASE).kind is ClaimKind.SKIP


def test_a_killed_worker_gives_its_shard_back_and_is_counted_as_a_crash(store: JobStore, clock: Clock) -> None:
    job = submit(store, "a").job
    fencing_token = claimed(store, job)
    store.progress(job, 0, fencing_token, 3)
    clock.advance(LEASE + 0.1)

    assert claimed(store, job, worker="w2") == fencing_token + 1
    shard = the_job(store, job).shards[0]
    assert (shard.crashes, shard.retries, shard.worker, shard.done) == (1, 0, "w2", 0)


def test_a_shard_that_kills_its_workers_has_three_starts_then_fails(store: JobStore, clock: Clock) -> None:
    job = submit(store, "a").job
    submit(store, "b")
    starts = 0
    while (claim := store.claim(job, 0, f"w{starts}", LEASE)).kind is ClaimKind.TAKEN:
        starts += 1
        clock.advance(LEASE + 1)

    assert (starts, claim.kind) == (3, ClaimKind.LOST)
    assert the_job(store, job).state is State.FAILED
    for analysis in "ab":
        snapshot = store.snapshot(analysis)
        assert snapshot is not None
        assert snapshot.record.state is State.FAILED
        assert snapshot.record.failure is not None
        assert snapshot.record.failure.reason == "WORKER_LOST"
        assert snapshot.record.ended == clock.now
    assert store.claim(job, 1, "w9", LEASE).kind is ClaimKind.SKIP


def test_a_beat_renews_the_hold(store: JobStore, clock: Clock) -> None:
    job = submit(store, "a").job
    fencing_token = claimed(store, job)
    for _ in range(5):
        clock.advance(LEASE - 1)
        assert store.renew_lease(job, 0, fencing_token, LEASE) is LeaseReply.OK
        assert store.claim(job, 0, "w2", LEASE).kind is ClaimKind.WAIT
    assert the_job(store, job).shards[0].crashes == 0


def test_progress_is_written_and_shards_add_up(store: JobStore) -> None:
    job = submit(store, "a").job
    first, second = claimed(store, job, 0), claimed(store, job, 1)

    assert store.progress(job, 0, first, 3) is LeaseReply.OK
    assert store.progress(job, 1, second, 2) is LeaseReply.OK
    assert the_job(store, job).done == 5


OLD: dict[str, tuple[Callable[[JobStore, str, int], Any], Any]] = {
    "beat": (lambda store, job, fencing_token: store.renew_lease(job, 0, fencing_token, LEASE), LeaseReply.LOST),
    "progress": (lambda store, job, fencing_token: store.progress(job, 0, fencing_token, 2), LeaseReply.LOST),
    "finish_shard": (lambda store, job, fencing_token: store.finish_shard(job, 0, fencing_token, part(4)), None),
    "hand_back": (lambda store, job, fencing_token: store.release_shard(job, 0, fencing_token), False),
    "retry": (lambda store, job, fencing_token: store.retry(job, 0, fencing_token, OOPS), None),
    "fail": (lambda store, job, fencing_token: store.fail(job, 0, fencing_token, OOPS), False),
}


@pytest.mark.parametrize("call", sorted(OLD))
def test_an_old_fence_is_refused_everywhere(store: JobStore, clock: Clock, call: str) -> None:
    job = submit(store, "a").job
    late = claimed(store, job, worker="late")
    clock.advance(LEASE + 1)
    claimed(store, job, worker="other")
    before = the_job(store, job)

    write, refusal = OLD[call]

    assert write(store, job, late) == refusal
    assert the_job(store, job) == before
    assert store.parts(job) == []


@pytest.mark.parametrize("call", sorted(OLD))
def test_a_fence_ends_with_its_hold(store: JobStore, call: str) -> None:
    job = submit(store, "a").job
    fencing_token = claimed(store, job)
    store.release_shard(job, 0, fencing_token)
    before = the_job(store, job)

    write, refusal = OLD[call]

    assert write(store, job, fencing_token) == refusal
    assert the_job(store, job) == before


@pytest.mark.parametrize("call", sorted(OLD))
def test_nothing_is_written_to_a_job_that_has_failed(store: JobStore, call: str) -> None:
    job = submit(store, "a").job
    other = claimed(store, job, 1)
    fencing_token = claimed(store, job)
    store.fail(job, 1, other, OOPS)
    before = the_job(store, job)

    write, refusal = OLD[call]

    assert write(store, job, fencing_token) == refusal
    assert the_job(store, job) == before


def test_a_late_result_does_not_replace_the_other_workers(store: JobStore, clock: Clock) -> None:
    job = submit(store, "a").job
    late = claimed(store, job, worker="late")
    clock.advance(LEASE + 1)
    store.finish_shard(job, 0, claimed(store, job, worker="other"), part(4, first=100))

    assert store.finish_shard(job, 0, late, part(4, first=900)) is None
    assert store.parts(job)[0].predictions.top1.tolist() == [100, 101, 102, 103]


# retry, hand back, fail


def test_transient_errors_back_off_and_the_fourth_is_the_last(store: JobStore, clock: Clock) -> None:
    job = submit(store, "a").job
    for delay in (5.0, 10.0, 20.0):
        fencing_token = claimed(store, job)
        assert store.retry(job, 0, fencing_token, OOPS) == pytest.approx(delay)
        clock.advance(delay / 2)
        waiting = store.claim(job, 0, "w2", LEASE)
        assert (waiting.kind, waiting.delay) == (ClaimKind.WAIT, pytest.approx(delay / 2))
        clock.advance(delay / 2)

    assert store.retry(job, 0, claimed(store, job), OOPS) is None
    snapshot = store.snapshot("a")
    assert snapshot is not None
    assert (snapshot.record.state, snapshot.record.failure) == (State.FAILED, OOPS)


def test_a_retry_is_no_crash_and_forgets_the_part_that_was_predicted(store: JobStore) -> None:
    job = submit(store, "a").job
    fencing_token = claimed(store, job)
    store.progress(job, 0, fencing_token, 3)
    store.retry(job, 0, fencing_token, OOPS)

    shard = the_job(store, job).shards[0]
    assert (shard.state, shard.crashes, shard.retries, shard.done) == (State.QUEUED, 0, 1, 0)


def test_a_shard_that_is_handed_back_counts_nothing_and_is_taken_at_once(store: JobStore) -> None:
    job = submit(store, "a").job
    for round in range(1, 9):
        fencing_token = claimed(store, job, worker=f"w{round}")
        store.progress(job, 0, fencing_token, 2)
        assert store.release_shard(job, 0, fencing_token) is True
        shard = the_job(store, job).shards[0]
        assert (shard.state, shard.fencing_token, shard.crashes, shard.retries, shard.done) == (
            State.QUEUED,
            round,
            0,
            0,
            0,
        )


def test_a_shard_that_fails_ends_the_analyses_and_stops_the_other_shards(store: JobStore) -> None:
    job = submit(store, "a").job
    submit(store, "b")
    first, second = claimed(store, job, 0), claimed(store, job, 1)

    assert store.fail(job, 0, first, OOPS) is True

    assert {state_of(store, "a"), state_of(store, "b")} == {State.FAILED}
    assert store.progress(job, 1, second, 1) is not LeaseReply.OK
    assert store.claim(job, 2, "w2", LEASE).kind is ClaimKind.SKIP


def test_a_message_that_comes_after_the_end_changes_nothing(store: JobStore, clock: Clock) -> None:
    job = submit(store, "a").job
    store.fail(job, 0, claimed(store, job), OOPS)
    before = store.snapshot("a")
    assert before is not None
    clock.advance(100)

    assert store.claim(job, 1, "w2", LEASE).kind is ClaimKind.SKIP

    after = store.snapshot("a")
    assert after is not None
    assert after.record == before.record


def test_a_message_that_comes_after_its_analysis_was_forgotten_is_skipped(store: JobStore) -> None:
    job = submit(store, "a").job
    store.fail(job, 0, claimed(store, job), OOPS)
    store.forget("a")

    assert store.claim(job, 1, "w2", LEASE).kind is ClaimKind.SKIP


# cancel


def test_cancelling_one_of_two_keeps_the_job(store: JobStore, clock: Clock) -> None:
    job = submit(store, "a").job
    submit(store, "b")
    fencing_token = claimed(store, job)

    assert store.cancel("a", "not needed") is True

    snapshot = store.snapshot("a")
    assert snapshot is not None
    assert (snapshot.record.state, snapshot.record.ended) == (State.CANCELLED, clock.now)
    assert snapshot.record.failure is not None
    assert snapshot.record.failure.message == "not needed"
    assert state_of(store, "b") is State.RUNNING
    assert store.progress(job, 0, fencing_token, 1) is LeaseReply.OK
    assert state_of(store, "a") is State.CANCELLED


def test_cancelling_the_last_stops_the_job(store: JobStore) -> None:
    job = submit(store, "a").job
    submit(store, "b")
    fencing_token = claimed(store, job)
    store.finish_shard(job, 1, claimed(store, job, 1), part(4))

    store.cancel("a", "")
    store.cancel("b", "")

    assert store.progress(job, 0, fencing_token, 1) is LeaseReply.CANCEL
    assert store.renew_lease(job, 0, fencing_token, LEASE) is LeaseReply.CANCEL
    assert store.finish_shard(job, 0, fencing_token, part(4)) is None
    assert store.claim(job, 2, "w2", LEASE).kind is ClaimKind.SKIP
    assert store.claim_judging(job) is None
    assert store.parts(job) == []


def test_a_queued_analysis_is_cancelled_at_once_and_its_message_skipped(store: JobStore) -> None:
    job = submit(store, "a").job
    store.cancel("a", "")

    assert state_of(store, "a") is State.CANCELLED
    assert store.claim(job, 0, "w1", LEASE).kind is ClaimKind.SKIP


def test_an_analysis_in_back_off_is_cancelled_at_once(store: JobStore, clock: Clock) -> None:
    job = submit(store, "a").job
    store.retry(job, 0, claimed(store, job), OOPS)
    store.cancel("a", "")
    clock.advance(60)

    assert store.claim(job, 0, "w1", LEASE).kind is ClaimKind.SKIP


def test_only_what_is_open_can_be_cancelled(store: JobStore) -> None:
    job = submit(store, "a").job
    store.fail(job, 0, claimed(store, job), OOPS)

    assert store.cancel("a", "") is False
    assert store.cancel("no-such-analysis", "") is False
    assert state_of(store, "a") is State.FAILED


def test_one_of_many_threads_cancels(store: JobStore) -> None:
    submit(store, "a")

    assert sum(at_once(16, lambda _: store.cancel("a", ""))) == 1


# finish and judge


def test_the_last_shard_is_told_once(store: JobStore) -> None:
    job = submit(store, "a", of=spec(total=24, shard_size=1)).job
    fences = [claimed(store, job, shard) for shard in range(24)]

    left = at_once(24, lambda shard: store.finish_shard(job, shard, fences[shard], part(1, shard)))

    assert sorted(left) == list(range(24))
    assert the_job(store, job).done == 24
    assert [store.finish_shard(job, shard, fences[shard], part(1)) for shard in range(24)] == [None] * 24


def test_parts_come_in_the_order_of_the_shards(store: JobStore) -> None:
    job = submit(store, "a", of=spec(total=10, shard_size=4)).job
    for shard, (start, stop) in ((2, (8, 10)), (0, (0, 4)), (1, (4, 8))):
        store.finish_shard(job, shard, claimed(store, job, shard), part(stop - start, start))

    together = [top1 for item in store.parts(job) for top1 in item.predictions.top1.tolist()]
    assert together == list(range(10))


def test_judging_is_claimed_when_all_shards_are_done_and_not_before(store: JobStore) -> None:
    job = submit(store, "a", of=spec(total=8, shard_size=4)).job
    assert store.claim_judging(job) is None
    store.finish_shard(job, 0, claimed(store, job, 0), part(4))
    assert store.claim_judging(job) is None
    store.finish_shard(job, 1, claimed(store, job, 1), part(4, 4))

    assert store.claim_judging(job) is not None
    assert store.claim_judging("no-such-job") is None


def test_judging_again_makes_the_earlier_judge_late(store: JobStore) -> None:
    job = submit(store, "a").job
    run_all(store, job)
    early, late = store.claim_judging(job), store.claim_judging(job)
    assert early is not None
    assert late is not None

    assert late > early
    assert store.finish(job, early) is False
    assert state_of(store, "a") is State.RUNNING
    assert store.finish(job, late) is True
    assert store.finish(job, late) is False


def test_a_job_that_has_succeeded_leaves_nothing_behind(store: JobStore) -> None:
    job = submit(store, "a").job
    submit(store, "b")
    run_all(store, job)
    store.finish(job, store.claim_judging(job) or 0)

    assert (store.snapshot("a"), store.snapshot("b"), store.entries()) == (None, None, [])
    assert store.parts(job) == []
    assert store.claim_judging(job) is None
    assert store.claim(job, 0, "w1", LEASE).kind is ClaimKind.SKIP


def test_judging_that_fails_fails_the_analyses(store: JobStore) -> None:
    job = submit(store, "a").job
    run_all(store, job)
    store.finish(job, store.claim_judging(job) or 0, OOPS)

    snapshot = store.snapshot("a")
    assert snapshot is not None
    assert (snapshot.record.state, snapshot.record.failure) == (State.FAILED, OOPS)
    assert store.parts(job) == []


def test_what_is_cancelled_while_it_is_judged_stays_cancelled(store: JobStore) -> None:
    job = submit(store, "a").job
    run_all(store, job)
    fencing_token = store.claim_judging(job) or 0
    store.cancel("a", "")

    assert store.finish(job, fencing_token) is False
    assert state_of(store, "a") is State.CANCELLED


def test_an_analysis_that_comes_while_an_equal_one_is_judged_is_not_lost(store: JobStore) -> None:
    """The judge archives those that waited when it began; who comes later must not vanish with them."""
    job = submit(store, "early").job
    run_all(store, job)
    fencing_token = store.claim_judging(job) or 0
    archived = the_job(store, job).analyses
    submit(store, "late")
    assert "late" not in archived

    store.finish(job, fencing_token)

    late = store.snapshot("late")
    assert late is not None
    assert not late.record.state.is_final


# what is kept, and how long


def test_only_what_has_ended_can_be_forgotten(store: JobStore) -> None:
    submit(store, "a")
    assert store.forget("a") is False
    store.cancel("a", "")

    assert store.forget("a") is True
    assert store.forget("a") is False
    assert store.snapshot("a") is None


@pytest.mark.parametrize("end", ["cancelled", "failed"])
def test_what_ended_a_week_ago_goes_when_something_new_comes(store: JobStore, clock: Clock, end: str) -> None:
    job = submit(store, "old", request_id="r").job
    if end == "cancelled":
        store.cancel("old", "")
    else:
        store.fail(job, 0, claimed(store, job), OOPS)
    pass_time(store, clock, 7 * DAY + 60)

    submit(store, "new", key="new", created=clock.now)

    assert store.snapshot("old") is None
    assert store.job(job) is None
    assert [snapshot.record.id for snapshot in store.entries()] == ["new"]
    assert submit(store, "again", key="again", request_id="r", body="another").outcome is Outcome.NEW


def test_what_ended_within_the_week_is_kept_and_so_is_what_is_open(store: JobStore, clock: Clock) -> None:
    submit(store, "open", key="open", created=clock.now)
    pass_time(store, clock, 30 * DAY)
    submit(store, "old", key="old", request_id="r", created=clock.now)
    store.cancel("old", "")
    pass_time(store, clock, 6 * DAY)

    submit(store, "new", key="new", created=clock.now)

    assert {snapshot.record.id for snapshot in store.entries()} == {"open", "old", "new"}
    assert submit(store, "again", request_id="r").analysis == "old"


def finish_many(store: JobStore, clock: Clock, count: int, first: int = 0) -> None:
    """Let analyses m0, m1, … end one after the other, cancelled and failed in turns."""
    for number in range(first, first + count):
        clock.advance(1)
        job = submit(store, f"m{number}", key=f"k{number}", request_id=f"r{number}", created=clock.now).job
        if number % 2:
            store.cancel(f"m{number}", "")
        else:
            store.fail(job, 0, claimed(store, job), OOPS)


def kept(store: JobStore) -> set[str]:
    return {snapshot.record.id for snapshot in store.entries()}


@pytest.fixture
def five(monkeypatch: pytest.MonkeyPatch, store: JobStore) -> JobStore:
    """A store that keeps five analyses that have ended."""
    monkeypatch.setattr(transitions, "MAX_FINISHED", 5)
    if isinstance(store, RedisJobStore):
        source = (resources.files("service.jobs") / "moves.lua").read_text(encoding="utf-8")
        few = source.replace("local MAX_FINISHED = 1000 ", "local MAX_FINISHED = 5 ")
        assert few != source, "the script has another bound than transitions.py"
        store._script = store._client.register_script(few)
    return store


def test_beyond_the_bound_what_ended_first_is_dropped(five: JobStore, clock: Clock) -> None:
    finish_many(five, clock, 8)

    assert kept(five) == {"m3", "m4", "m5", "m6", "m7"}
    assert five.snapshot("m2") is None


def test_an_analysis_that_was_submitted_first_and_ends_last_is_kept(five: JobStore, clock: Clock) -> None:
    submit(five, "long", key="long", created=clock.now)
    finish_many(five, clock, 8)
    assert kept(five) == {"long", "m3", "m4", "m5", "m6", "m7"}, "what is open is not counted"

    five.cancel("long", "")

    assert kept(five) == {"long", "m4", "m5", "m6", "m7"}


def test_a_dropped_analysis_leaves_nothing_behind(five: JobStore, clock: Clock) -> None:
    clock.advance(1)
    job = submit(five, "first", key="first", request_id="r", body="one").job
    five.fail(job, 0, claimed(five, job), OOPS)
    finish_many(five, clock, 5)

    assert kept(five) == {"m0", "m1", "m2", "m3", "m4"}
    assert five.job(job) is None
    if isinstance(five, RedisJobStore):
        assert [key for key in five._client.scan_iter() if job.encode() in key or b"first" in key] == []
    assert submit(five, "again", key="again", request_id="r", body="another").outcome is Outcome.NEW


def test_a_job_stays_as_long_as_one_of_its_analyses(five: JobStore, clock: Clock) -> None:
    job = submit(five, "a").job
    submit(five, "b")
    clock.advance(1)
    five.cancel("a", "")
    finish_many(five, clock, 4)
    five.fail(job, 0, claimed(five, job), OOPS)

    assert kept(five) == {"m0", "m1", "m2", "m3", "b"}
    assert the_job(five, job).analyses == {"b"}


def test_more_analyses_of_one_job_than_the_bound_are_dropped_too(five: JobStore, clock: Clock) -> None:
    for number in range(8):
        job = submit(five, f"a{number}").job
    fencing_token = claimed(five, job)

    assert five.fail(job, 0, fencing_token, OOPS) is True

    assert len(kept(five)) == 5
    assert the_job(five, job).analyses == kept(five)


def test_an_analysis_whose_registry_waits_for_its_end_is_not_dropped(five: JobStore, clock: Clock) -> None:
    clock.advance(1)
    ended(five, "owed")
    finish_many(five, clock, 6)
    assert kept(five) == {"owed", "m1", "m2", "m3", "m4", "m5"}

    five.settle("owed")
    finish_many(five, clock, 1, first=6)

    assert kept(five) == {"m2", "m3", "m4", "m5", "m6"}


def test_an_analysis_that_is_queued_again_is_neither_counted_nor_dropped(five: JobStore, clock: Clock) -> None:
    failed_one(five)
    again(five)
    finish_many(five, clock, 6)

    assert kept(five) == {"a", "m1", "m2", "m3", "m4", "m5"}
    assert state_of(five, "a") is State.QUEUED


def test_a_forgotten_analysis_makes_room(five: JobStore, clock: Clock) -> None:
    finish_many(five, clock, 5)
    five.forget("m3")
    finish_many(five, clock, 1, first=5)

    assert kept(five) == {"m0", "m1", "m2", "m4", "m5"}


def test_what_ended_a_week_ago_is_not_counted(five: JobStore, clock: Clock) -> None:
    finish_many(five, clock, 5)
    pass_time(five, clock, 7 * DAY + 60)
    finish_many(five, clock, 5, first=5)
    assert kept(five) == {"m5", "m6", "m7", "m8", "m9"}


@pytest.mark.parametrize("count", [BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 5])
def test_entries_that_take_several_calls_are_all_listed(store: JobStore, clock: Clock, count: int) -> None:
    for number in range(count):
        submit(store, f"a{number}")

    assert kept(store) == {f"a{number}" for number in range(count)}


def test_a_list_shows_what_ended_again_and_what_runs_again(store: JobStore, clock: Clock) -> None:
    def listed() -> tuple[State, Failure | None, float | None, float]:
        (snapshot,) = store.entries()
        return snapshot.record.state, snapshot.record.failure, snapshot.record.ended, snapshot.now

    failed_one(store)
    assert listed() == (State.FAILED, OOPS, clock.now, clock.now)
    ended_at = clock.now
    clock.advance(5)
    assert listed() == (State.FAILED, OOPS, ended_at, clock.now)

    said = again(store)
    assert said is not None
    assert listed() == (State.QUEUED, None, None, clock.now)
    clock.advance(5)
    store.fail(said.job, 0, claimed(store, said.job), Failure("OTHER", "it broke again"))

    assert listed() == (State.FAILED, Failure("OTHER", "it broke again"), clock.now, clock.now)


def test_a_list_shows_how_far_the_job_of_a_cancelled_analysis_is(store: JobStore) -> None:
    job = submit(store, "a").job
    submit(store, "b")
    store.cancel("a", "")

    def done() -> set[int]:
        return {snapshot.job.done for snapshot in store.entries() if snapshot.job is not None}

    assert done() == {0}
    store.progress(job, 0, claimed(store, job), 3)

    assert done() == {3}


def test_a_list_shows_what_an_older_version_queued_again(server: RedisServer, clock: Clock) -> None:
    """It does not know of `errata:finished`, and leaves the analysis there."""
    store, client = make("redis", clock, server), server.client()
    failed_one(store)
    assert [snapshot.record.state for snapshot in store.entries()] == [State.FAILED]
    before = client.zrange("errata:finished", 0, -1, withscores=True)
    again(store)
    client.zadd("errata:finished", dict(before))

    assert [snapshot.record.state for snapshot in store.entries()] == [State.QUEUED]
    assert client.zcard("errata:finished") == 0


def test_a_reserved_request_id_is_given_up_after_a_week(store: JobStore, clock: Clock) -> None:
    store.reserve("r", "body", "u1")
    pass_time(store, clock, 7 * DAY + 60)

    assert store.reserve("r", "another", "u2").outcome is Outcome.NEW


def test_image_names_are_kept_by_their_digest(store: JobStore) -> None:
    store.remember_images("d1", ["a.jpg", "b.jpg"])
    store.remember_images("d1", ["a.jpg", "b.jpg"])

    assert list(store.images("d1")) == ["a.jpg", "b.jpg"]
    with pytest.raises(Unavailable, match="d2"):
        store.images("d2")


# what a snapshot says


def test_the_queue_position_counts_the_open_jobs_before(store: JobStore, clock: Clock) -> None:
    for id in "abc":
        submit(store, id, key=id)
        clock.advance(1)

    def positions() -> dict[str, int]:
        return {snapshot.record.id: snapshot.queue_position for snapshot in store.entries()}

    assert positions() == {"a": 0, "b": 1, "c": 2}
    store.cancel("a", "")
    assert {id: place for id, place in positions().items() if id != "a"} == {"b": 0, "c": 1}


def test_live_workers_are_those_that_were_heard_of_lately(store: JobStore, clock: Clock) -> None:
    submit(store, "a")

    def alive() -> int:
        snapshot = store.snapshot("a")
        assert snapshot is not None
        return snapshot.live_workers

    assert alive() == 0
    store.worker_alive("w1")
    store.worker_alive("w1")
    store.worker_alive("w2")
    assert alive() == 2
    store.worker_gone("w2")
    store.worker_gone("never-heard-of")
    assert alive() == 1
    clock.advance(120)
    assert alive() == 0


def test_a_worker_that_beats_for_its_shard_is_alive(store: JobStore, clock: Clock) -> None:
    """A shard takes minutes: its worker must not count as gone while it renews its hold."""
    job = submit(store, "a").job
    store.worker_alive("w1")
    fencing_token = claimed(store, job, worker="w1")
    for _ in range(12):
        clock.advance(5)
        store.renew_lease(job, 0, fencing_token, LEASE)

    snapshot = store.snapshot("a")
    assert snapshot is not None
    assert snapshot.live_workers == 1


def test_a_store_stays_bound_to_the_first_archive(store: JobStore) -> None:
    assert store.bind_archive("first") == "first"

    assert store.bind_archive("second") == "first"
    assert store.bind_archive("first") == "first"


def test_of_many_archives_at_once_one_is_bound(store: JobStore) -> None:
    answers = at_once(16, lambda number: store.bind_archive(f"archive{number}"))

    assert len(set(answers)) == 1


# legal moves only, whatever the order of calls

MACHINE_LIMIT = 6


class Moves(RuleBasedStateMachine):
    """Calls in any order, with current and old fences; the books must balance after each."""

    def __init__(self, make: Callable[[Clock], JobStore]) -> None:
        super().__init__()
        self.clock = Clock()
        self.store = make(self.clock)
        self.count = 0
        self.jobs: dict[str, Job] = {}  # as seen after the last call
        self.fences: list[tuple[str, int, int]] = []  # all that were ever given
        self.held: dict[tuple[str, int], int] = {}  # the current ones
        self.judges: list[tuple[str, int]] = []
        self.judge: dict[str, int] = {}
        self.states: dict[str, State] = {}  # of every analysis, as seen last; gone without a trace: succeeded
        self.forgotten: set[str] = set()

    def open_ones(self) -> int:
        return sum(not snapshot.record.state.is_final for snapshot in self.store.entries())

    @rule(key=st.sampled_from("kl"), fresh=st.booleans(), shards=st.integers(1, 3))
    def submit(self, key: str, fresh: bool, shards: int) -> None:
        self.count += 1
        before = self.open_ones()
        said = submit(
            self.store,
            f"a{self.count}",
            key=f"{key}{shards}",
            fresh=fresh,
            of=spec(total=4 * shards - 1, shard_size=4),
            limit=MACHINE_LIMIT,
        )
        assert (said.outcome is Outcome.FULL) == (before >= MACHINE_LIMIT)
        if said.outcome is not Outcome.FULL:
            assert self.open_ones() == before + 1
            self.states[said.analysis] = State.QUEUED

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def claim(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(list(self.jobs)))
        shard = data.draw(st.integers(0, self.jobs[id].spec.num_shards - 1))
        claim = self.store.claim(id, shard, "w", LEASE)
        if claim.kind is ClaimKind.TAKEN:
            assert claim.fencing_token == self.jobs[id].shards[shard].fencing_token + 1
            self.fences.append((id, shard, claim.fencing_token))
            self.held[id, shard] = claim.fencing_token
        elif claim.kind is ClaimKind.WAIT:
            assert claim.delay > 0

    @precondition(lambda self: self.fences)
    @rule(data=st.data(), call=st.sampled_from([*sorted(OLD), "finish_shard", "finish_shard"]))
    def report(self, data: st.DataObject, call: str) -> None:
        id, shard, fencing_token = data.draw(st.sampled_from(self.fences))
        is_current = self.held.get((id, shard)) == fencing_token and not self.jobs[id].state.is_final
        before = self.store.job(id)
        start, stop = self.jobs[id].spec.bounds(shard)
        match call:
            case "beat":
                accepted = self.store.renew_lease(id, shard, fencing_token, LEASE) is LeaseReply.OK
            case "progress":
                accepted = (
                    self.store.progress(id, shard, fencing_token, data.draw(st.integers(0, stop - start)))
                    is LeaseReply.OK
                )
            case "finish_shard":
                left = self.store.finish_shard(id, shard, fencing_token, part(stop - start))
                accepted = left is not None
                if accepted:
                    assert before is not None
                    assert left == before.left - 1
            case "hand_back":
                accepted = self.store.release_shard(id, shard, fencing_token)
            case "retry":
                delay = self.store.retry(id, shard, fencing_token, OOPS)
                now = self.store.job(id)
                accepted = delay is not None or (is_current and now is not None and now.state is State.FAILED)
            case _:
                accepted = self.store.fail(id, shard, fencing_token, OOPS)
        assert accepted == is_current
        if not accepted:
            assert self.store.job(id) == before
        elif call not in ("beat", "progress"):
            del self.held[id, shard]

    @precondition(lambda self: self.states)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        analysis = data.draw(st.sampled_from(sorted(self.states)))
        was_open = not self.states[analysis].is_final and analysis not in self.forgotten
        assert self.store.cancel(analysis, "") == was_open

    @precondition(lambda self: any(state.is_final for state in self.states.values()))
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        analysis = data.draw(st.sampled_from(sorted(id for id, state in self.states.items() if state.is_final)))
        if self.store.forget(analysis):
            assert analysis not in self.forgotten
            self.forgotten.add(analysis)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def claim_judging(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(list(self.jobs)))
        fencing_token = self.store.claim_judging(id)
        job = self.jobs[id]
        assert (fencing_token is not None) == (not job.state.is_final and job.left == 0)
        if fencing_token is not None:
            assert fencing_token > self.judge.get(id, 0)
            self.judge[id] = fencing_token
            self.judges.append((id, fencing_token))

    @precondition(lambda self: self.judges)
    @rule(data=st.data(), failure=st.sampled_from([None, None, OOPS]))
    def finish(self, data: st.DataObject, failure: Failure | None) -> None:
        id, fencing_token = data.draw(st.sampled_from(self.judges))
        is_current = self.judge[id] == fencing_token and not self.jobs[id].state.is_final
        assert self.store.finish(id, fencing_token, failure) == is_current
        if is_current and failure is None:
            self.jobs[id] = replace(self.jobs[id], state=State.SUCCEEDED)

    @rule(seconds=st.sampled_from([1.0, 6.0, LEASE + 1]))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def final_states_are_never_left(self) -> None:
        seen = {snapshot.record.id: snapshot.record.state for snapshot in self.store.entries()}
        for analysis, before in self.states.items():
            if analysis in self.forgotten:
                assert analysis not in seen
                continue
            now = seen.get(analysis, State.SUCCEEDED)
            assert now == before or not before.is_final
            assert not (before is State.RUNNING and now is State.QUEUED)
            self.states[analysis] = now
        assert seen.keys() <= self.states.keys()

    @invariant()
    def moves_are_legal_and_done_is_at_most_total(self) -> None:
        for snapshot in self.store.entries():
            if snapshot.job is not None:
                self.jobs.setdefault(snapshot.job.id, snapshot.job)
        for id, before in list(self.jobs.items()):
            now = self.store.job(id)
            if now is None:
                assert before.state.is_final
                continue
            assert now.state == before.state or not before.state.is_final
            assert 0 <= now.done <= now.spec.total
            assert now.left == sum(shard.state is not State.SUCCEEDED for shard in now.shards)
            for old, new in zip(before.shards, now.shards, strict=True):
                moved = (old.state.name, new.state.name)
                assert moved in {
                    ("QUEUED", "QUEUED"),
                    ("QUEUED", "RUNNING"),
                    ("RUNNING", "RUNNING"),
                    ("RUNNING", "QUEUED"),
                    ("RUNNING", "SUCCEEDED"),
                    ("SUCCEEDED", "SUCCEEDED"),
                }
                again = new.fencing_token - old.fencing_token
                assert again == (1 if moved == ("QUEUED", "RUNNING") else new.crashes - old.crashes)
                assert 0 <= new.retries - old.retries <= (moved == ("RUNNING", "QUEUED"))
                assert new.crashes < 3
                assert new.retries <= 3
            self.jobs[id] = now

    @invariant()
    def the_books_balance(self) -> None:
        snapshots = self.store.entries()
        open_ones = {snapshot.record.id for snapshot in snapshots if not snapshot.record.state.is_final}
        assert len(open_ones) <= MACHINE_LIMIT
        open_jobs = {id: job for id in self.jobs if (job := self.store.job(id)) and not job.state.is_final}
        waiting = [analysis for job in open_jobs.values() for analysis in job.analyses]
        assert sorted(waiting) == sorted(open_ones)
        assert all(job.analyses for job in open_jobs.values())


@pytest.mark.parametrize("implementation", ["memory", "redis"])
def test_whatever_is_called_only_legal_moves_are_made(implementation: str, server: RedisServer) -> None:
    run_state_machine_as_test(
        lambda: Moves(lambda clock: make(implementation, clock, server)),
        settings=settings(max_examples=150, stateful_step_count=40, deadline=None),
    )


# what has failed is queued again


def failed_one(store: JobStore, request_id: str = "") -> None:
    job = submit(store, "a", request_id=request_id).job
    store.fail(job, 0, claimed(store, job), OOPS)


def again(store: JobStore, limit: int = 10, request_id: str = "") -> Submission | None:
    record = AnalysisRecord("a", AnalysisRequest("demo", "demo:m", request_id=request_id), "body", "e" * 64, 0.0)
    return store.resubmit(record, replace(spec(), model="demo:same"), limit=limit)


def test_what_has_failed_is_queued_again_under_its_own_name(store: JobStore) -> None:
    failed_one(store)

    said = again(store)

    assert said is not None
    assert (said.outcome, said.analysis) == (Outcome.NEW, "a")
    snapshot = store.snapshot("a")
    assert snapshot is not None
    assert (snapshot.record.state, snapshot.record.failure) == (State.QUEUED, None)
    run_all(store, said.job)
    fencing_token = store.claim_judging(said.job)
    assert fencing_token is not None
    assert store.finish(said.job, fencing_token) is True
    assert store.snapshot("a") is None


@pytest.mark.parametrize("state", ["open", "cancelled", "unknown"])
def test_only_what_has_failed_is_queued_again(store: JobStore, state: str) -> None:
    if state != "unknown":
        submit(store, "a")
    if state == "cancelled":
        store.cancel("a", "")

    assert again(store) is None


def test_what_is_queued_again_joins_an_equal_job_and_counts_against_the_limit(store: JobStore) -> None:
    failed_one(store)
    other = submit(store, "b").job

    full, joined = again(store, limit=1), again(store, limit=2)

    assert full is not None and full.outcome is Outcome.FULL
    assert joined is not None and (joined.outcome, joined.job) == (Outcome.JOINED, other)
    assert again(store) is None  # it is open


def test_a_retry_outlives_the_week_of_what_had_failed(store: JobStore, clock: Clock) -> None:
    failed_one(store, "r")
    again(store, request_id="r")
    pass_time(store, clock, 8 * DAY)
    submit(store, "new", key="new", created=clock.now)

    assert state_of(store, "a") is State.QUEUED
    assert submit(store, "x", request_id="r").analysis == "a"


# what workers say of themselves, and what is lost


def test_offers_are_those_of_live_workers_and_else_of_the_last(store: JobStore, clock: Clock) -> None:
    assert list(store.offers()) == []
    first, second = WorkerOffer((("timm:*", "any"),), ("demo",)), WorkerOffer((("demo:m", "one"),), ())
    store.worker_alive("w1", first)
    store.worker_alive("w2", second)

    assert sorted(store.offers(), key=str) == sorted([first, second], key=str)
    store.worker_gone("w1")
    assert list(store.offers()) == [second]
    store.worker_gone("w2")
    assert list(store.offers()) == [second]


@pytest.mark.parametrize("file", sorted(WRITTEN.glob("*.json")), ids=lambda file: file.stem)
def test_open_work_of_earlier_versions_goes_on(server: RedisServer, file: Path) -> None:
    """A Redis as an earlier version left it in the middle of a job: the job is claimed, finished and judged."""
    client = server.client()
    client.flushall()
    for key, kept in json.loads(file.read_text()).items():
        match kept["type"]:
            case "hash":
                client.hset(key, mapping=kept["value"])
            case "zset":
                client.zadd(key, kept["value"])
            case "set":
                client.sadd(key, *kept["value"])
            case _:
                client.set(key, kept["value"])
    store = RedisJobStore(connect(server.url, 2.0))

    (open_one,) = store.entries()
    assert open_one.record.request.labels == {"model": "net", "version": "1"}
    assert open_one.record.owner == "ci"
    assert open_one.job is not None
    job = open_one.job.id
    for shard in range(4):
        fencing_token = claimed(store, job, shard, worker="newer")
        left = store.finish_shard(job, shard, fencing_token, part(5))
    assert left == 0
    judging = store.claim_judging(job)
    assert judging is not None
    assert store.finish(job, judging)
    assert list(store.entries()) == []


def test_records_of_a_newer_version_are_left_to_it(server: RedisServer) -> None:
    client = server.client()
    client.flushall()
    store = RedisJobStore(connect(server.url, 2.0))
    job, other = submit(store, "a").job, submit(store, "b", key="other").job
    record, plan = "errata:analysis:a", f"errata:job:{job}"
    for key, name in ((record, "entry"), (plan, "spec")):
        document = json.loads(client.hget(key, name)) | {"schema": 2}
        client.hset(key, name, json.dumps(document))

    assert [entry.record.id for entry in store.entries()] == ["b"]
    for call in (lambda: store.snapshot("a"), lambda: store.job(job)):
        with pytest.raises(NewerRecord, match="a newer version of Errata wrote this record"):
            call()
    assert store.job(other) is not None


def rewrite(client: Any, key: str, field: str, **changes: object) -> None:
    """Change some fields of a JSON document in a hash of Redis."""
    client.hset(key, field, json.dumps(json.loads(client.hget(key, field)) | changes))


def everything(client: Any) -> dict[bytes, Any]:
    """Return all keys of a Redis with their content."""
    read = {
        b"hash": client.hgetall,
        b"set": client.smembers,
        b"string": client.get,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
    }
    return {key: read[client.type(key)](key) for key in client.scan_iter()}


NEWER: dict[str, Callable[[RedisJobStore, str], object]] = {
    "claim": lambda store, job: store.claim(job, 0, "older", LEASE),
    "cancel": lambda store, _: store.cancel("a", "not needed"),
    "claim_judging": lambda store, job: store.claim_judging(job),
}


@pytest.mark.parametrize("call", sorted(NEWER))
@pytest.mark.parametrize("progress", ["queued", "lease over", "predicted"])
def test_an_older_version_changes_nothing_of_a_newer_versions_job(
    server: RedisServer, clock: Clock, call: str, progress: str
) -> None:
    store, client = make("redis", clock, server), server.client()
    job = submit(store, "a").job
    if progress == "lease over":
        claimed(store, job)
        clock.advance(LEASE + 1)
    if progress == "predicted":
        run_all(store, job)
    rewrite(client, f"errata:job:{job}", "spec", schema=SCHEMA + 1)
    before = everything(client)
    does_nothing_anyway = {("claim", "predicted"), ("claim_judging", "queued"), ("claim_judging", "lease over")}

    if (call, progress) in does_nothing_anyway:
        NEWER[call](store, job)
    else:
        with pytest.raises(NewerRecord, match=f"schema {SCHEMA} at most, got {SCHEMA + 1}"):
            NEWER[call](store, job)

    assert everything(client) == before


def test_an_older_version_does_not_cancel_an_analysis_that_it_can_not_read(server: RedisServer, clock: Clock) -> None:
    store, client = make("redis", clock, server), server.client()
    submit(store, "a")
    rewrite(client, "errata:analysis:a", "entry", schema=SCHEMA + 1)
    before = everything(client)

    with pytest.raises(NewerRecord, match="the open analysis a"):
        store.cancel("a", "not needed")

    assert everything(client) == before


def test_an_older_version_does_not_join_a_newer_versions_job(server: RedisServer, clock: Clock) -> None:
    store, client = make("redis", clock, server), server.client()
    newer = submit(store, "a").job
    rewrite(client, f"errata:job:{newer}", "spec", schema=SCHEMA + 1)

    said = submit(store, "b")

    assert said.outcome is Outcome.NEW
    assert client.smembers(f"errata:job:{newer}:analyses") == {b"a"}
    assert state_of(store, "b") is State.QUEUED


def test_the_version_that_wrote_a_record_claims_and_cancels_it(
    server: RedisServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, client = make("redis", clock, server), server.client()
    job = submit(store, "a").job
    rewrite(client, f"errata:job:{job}", "spec", schema=SCHEMA + 1)
    rewrite(client, "errata:analysis:a", "entry", schema=SCHEMA + 1)
    monkeypatch.setattr("service.jobs.redis_store.SCHEMA", SCHEMA + 1)

    claimed(store, job)
    assert store.cancel("a", "not needed") is True


def test_fields_that_a_newer_version_added_are_read_over(server: RedisServer) -> None:
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
        *({"entry": item} for item in BROKEN),
        {"entry": b"\xff\xfe"},
        {"state": "NOPE"},
        {"ended": "inf"},
        {"failure": "[]"},
        *({"created": item} for item in ("soon", float("nan"), 1e300, -1)),
        {"display_name": 5},
        {"display_name": "\ud800"},
        {"labels": {"a": 1}},
    ],
    ids=lambda change: str(change)[:40],
)
def test_a_record_that_no_version_wrote_is_left_out_and_told(server: RedisServer, change: dict[str, Any]) -> None:
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
            assert [entry.record.id for entry in store.entries()] == ["b"]
        with pytest.raises(DamagedRecord, match="the open analysis a"):
            store.snapshot("a")
    assert [event["log_level"] for event in log] == ["error"], "told once, however often it is looked at"


@pytest.mark.parametrize("spec", BROKEN)
def test_a_job_that_no_version_wrote_is_told(server: RedisServer, spec: str) -> None:
    client = server.client()
    client.flushall()
    store = RedisJobStore(connect(server.url, 2.0))
    job = submit(store, "a").job
    client.hset(f"errata:job:{job}", "spec", spec)

    with pytest.raises(DamagedRecord):
        store.job(job)
    assert list(store.entries()) == []


def test_a_job_that_says_it_has_endless_shards_ends_nobodys_patience(server: RedisServer) -> None:
    client = server.client()
    client.flushall()
    store = RedisJobStore(connect(server.url, 20.0))
    job = submit(store, "a").job
    client.hset(f"errata:job:{job}", "shards", "1e11")

    with pytest.raises(DamagedRecord):
        store.job(job)
    assert store.ping()


@pytest.mark.parametrize("offer", [*BROKEN, '{"models": "ab", "datasets": [], "runtime": ""}'])
def test_an_offer_that_no_worker_wrote_is_left_out(server: RedisServer, offer: str) -> None:
    client = server.client()
    client.flushall()
    store = RedisJobStore(connect(server.url, 2.0))
    good = WorkerOffer((("demo:x", "a model"),), ("demo",), "timm 1")
    for worker in ("w1", "w2"):
        store.worker_alive(worker, good)
    client.set("errata:offers:w2", offer)

    assert list(store.offers()) == [good]


@pytest.mark.parametrize("content", [zlib.compress(bytes(300 << 20), 1), b"junk", zlib.compress(b"\xff")])
def test_names_that_unpack_to_too_much_or_to_no_text_are_damaged(server: RedisServer, content: bytes) -> None:
    server.client().set("errata:images:d1", content)

    with pytest.raises(DamagedRecord):
        RedisJobStore(connect(server.url, 5.0)).images("d1")


def test_predictions_that_nobody_kept_so_are_computed_anew(server: RedisServer) -> None:
    store = RedisJobStore(connect(server.url, 2.0))
    store.store_shard_result("k", part(4))
    assert store.cached_shard_result("k") is not None
    whole = server.client().get("errata:predictions:k")
    objects = io.BytesIO()
    np.savez(objects, top1=np.array([Path()], dtype=object), allow_pickle=True)
    arrays = {
        "floats": {"top1": np.zeros(4)},
        "a class that isn't": {"top1": np.full(4, 9999, dtype=np.int16)},
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


def test_depth_counts_what_is_open(store: JobStore, clock: Clock) -> None:
    job = submit(store, "a", created=clock.now).job
    submit(store, "b", created=clock.now)
    fencing_token = claimed(store, job)
    clock.now += 7
    store.worker_alive("w9")

    assert store.depth() == depth(running_analyses=2, running_shards=1, queued_shards=2, oldest_running=7.0)
    store.finish_shard(job, 0, fencing_token, part(4))
    store.finish_shard(job, 0, fencing_token + 5, part(4))
    assert store.depth() == depth(running_analyses=2, queued_shards=2, oldest_running=7.0, refused=1)
    store.cancel("a", "")
    store.cancel("b", "")
    assert store.depth() == depth(refused=1)


def test_depth_tells_what_waits_from_what_runs_and_counts_crashes(store: JobStore, clock: Clock) -> None:
    job = submit(store, "a", created=clock.now).job
    clock.now += 3
    submit(store, "b", key="other", created=clock.now)
    store.worker_alive("w9")
    claimed(store, job)
    clock.now += 25  # past the lease

    store.worker_alive("w9")
    claimed(store, job)

    result = store.depth()
    assert (result.queued_analyses, result.running_analyses) == (1, 1)
    assert (result.oldest_queued, result.oldest_running) == (25.0, 28.0)
    assert result.crashes == 1
    assert store.memory().used >= 0


def depth(**counts: float) -> Depth:
    """Return the depth of a store with one live worker, and these counts."""
    nothing = dict.fromkeys(
        ("queued_analyses", "running_analyses", "queued_shards", "running_shards", "refused", "crashes"), 0
    )
    return Depth(**{**nothing, "oldest_queued": 0.0, "oldest_running": 0.0, "workers": 1} | counts)  # type: ignore[arg-type]


def test_predictions_are_kept_by_what_made_them(store: JobStore) -> None:
    info = ModelInfo("demo:m", "net", "0" * 64, "t")
    key = spec().part_key(1, info)
    assert store.cached_shard_result(key) is None

    store.store_shard_result(key, part(4, first=4))

    kept = store.cached_shard_result(key)
    assert kept is not None
    assert kept.predictions.top1.tolist() == [4, 5, 6, 7]
    assert kept.model_info == info


def test_other_weights_transforms_images_or_shards_are_kept_apart() -> None:
    info = ModelInfo("demo:m", "net", "0" * 64, "t")
    keys = [
        spec().part_key(0, info),
        spec().part_key(1, info),
        replace(spec(), images="j" * 64).part_key(0, info),
        replace(spec(), shard_size=5).part_key(0, info),
        spec().part_key(0, replace(info, weights_sha256="1" * 64)),
        spec().part_key(0, replace(info, transform="u")),
    ]

    assert len(set(keys)) == len(keys)
    assert replace(spec(), model="demo:same_weights_by_another_name").part_key(0, info) == keys[0]


def test_which_analysis_has_a_result_is_kept(store: JobStore) -> None:
    assert store.result("k" * 64) is None

    store.store_result("k" * 64, "a1")
    store.store_result("k" * 64, "a2")

    assert store.result("k" * 64) == "a2"
    assert store.result("l" * 64) is None


# who asked is to be told


def asked_by(store: JobStore, id: str, owner: str, request_id: str = "", limit: int = 1000) -> Submission:
    """An entry of an owner's, by itself in its job."""
    record = AnalysisRecord(
        id, AnalysisRequest("demo", "demo:m", request_id=request_id), "body", "e" * 64, 0.0, owner=owner
    )
    return store.submit(record, replace(spec(), model=f"demo:{id}"), fresh=False, limit=limit)


def ended(store: JobStore, *ids: str, owner: str = "registry:x") -> None:
    """Entries of a registry's that have ended."""
    for id in ids:
        asked_by(store, id, owner)
        store.cancel(id, "")


def owed(store: JobStore, lease: float = LEASE) -> dict[str, int]:
    """How often telling what is due now has failed; taken for a while."""
    taken = store.owed(lease)
    assert len({item.analysis for item in taken}) == len(taken)
    return {item.analysis: item.tries for item in taken}


def test_what_a_registry_asked_for_is_owed_once_it_has_ended_and_nothing_else_is(store: JobStore) -> None:
    for id, owner in {"a": "registry:x", "b": "", "c": "registry", "d": "somebody@registry:x"}.items():
        asked_by(store, id, owner)
    assert owed(store) == {}  # all are open
    for id in "abcd":
        store.cancel(id, "")

    assert owed(store) == {"a": 0}


def test_who_is_refused_or_repeated_is_not_owed(store: JobStore) -> None:
    asked_by(store, "a", "registry:x", request_id="r", limit=1)

    assert asked_by(store, "b", "registry:x", request_id="r", limit=1).outcome is Outcome.REPEATED
    assert asked_by(store, "c", "registry:x", limit=1).outcome is Outcome.FULL
    store.cancel("a", "")

    assert owed(store) == {"a": 0}


def test_who_joins_a_job_is_owed_too(store: JobStore) -> None:
    for id in ("a", "b"):
        record = AnalysisRecord(id, AnalysisRequest("demo", "demo:m"), "body", "e" * 64, 0.0, owner="registry:x")
        store.submit(record, spec(), fresh=False, limit=10)
    store.cancel("a", "")
    assert owed(store) == {"a": 0}
    store.cancel("b", "")

    assert owed(store) == {"b": 0}


def test_what_is_reserved_is_owed_only_if_it_says_so(store: JobStore) -> None:
    store.reserve("r", "body", "a", owed=True)
    store.reserve("s", "body", "b")
    store.reserve("t", "body", "c", owed=False)

    assert owed(store) == {"a": 0}


@pytest.mark.parametrize("body", ["body", "another"], ids=["repeated", "reused"])
def test_a_reserved_id_that_comes_again_is_not_owed_again(store: JobStore, clock: Clock, body: str) -> None:
    store.reserve("r", "body", "a", owed=True)
    store.settle("a")

    assert store.reserve("r", body, "b", owed=True).analysis == "a"

    clock.advance(DAY)
    assert owed(store) == {}


def test_what_is_due_is_taken_once_until_the_lease_is_over(store: JobStore, clock: Clock) -> None:
    ended(store, "a")

    assert owed(store, lease=60) == {"a": 0}
    assert owed(store, lease=60) == {}
    clock.advance(59)
    assert owed(store, lease=60) == {}
    clock.advance(1)
    assert owed(store, lease=60) == {"a": 0}  # who ended before he settled it isn't counted as a try
    clock.advance(59)
    assert owed(store, lease=60) == {}


def test_one_of_many_threads_takes_what_is_due(store: JobStore) -> None:
    ended(store, "a", "b")

    taken = at_once(16, lambda _: store.owed(LEASE))

    assert sorted(item.analysis for some in taken for item in some) == ["a", "b"]


def test_what_is_postponed_comes_later_and_only_failures_are_counted(store: JobStore, clock: Clock) -> None:
    ended(store, "a")
    for failed, tries in ((True, 1), (False, 1), (True, 2), (False, 2)):
        owed(store)
        store.postpone("a", 5, failed=failed)
        clock.advance(4.5)
        assert owed(store) == {}
        clock.advance(0.5)
        assert owed(store, lease=0) == {"a": tries}


def test_one_that_is_postponed_does_not_hold_up_another(store: JobStore) -> None:
    ended(store, "a", "b")
    store.postpone("a", 100, failed=True)

    assert owed(store) == {"b": 0}


def test_what_is_settled_never_comes_again_even_if_it_is_postponed_late(store: JobStore, clock: Clock) -> None:
    ended(store, "a")
    owed(store)
    store.settle("a")
    store.settle("a")
    store.postpone("a", 1, failed=True)
    store.postpone("a", 1, failed=False)
    store.settle("never owed")
    store.postpone("never owed", 1, failed=True)

    clock.advance(DAY)

    assert owed(store) == {}


@pytest.mark.parametrize("end", ["succeeded", "cancelled", "failed"])
def test_what_has_ended_is_owed_at_once_however_it_ended_and_however_often_it_was_looked_for(
    store: JobStore, clock: Clock, end: str
) -> None:
    job = asked_by(store, "a", "registry:x").job
    assert owed(store) == {}
    claimed(store, job, shard=1)
    clock.advance(1)
    assert owed(store) == {}
    if end == "succeeded":
        clock.advance(LEASE)
        run_all(store, job)
        assert owed(store) == {}  # it is to be judged and archived first
        store.finish(job, store.claim_judging(job) or 0)
    elif end == "cancelled":
        store.cancel("a", "")
    else:
        store.fail(job, 0, claimed(store, job), OOPS)

    assert owed(store) == {"a": 0}


def test_debts_outlive_the_week_that_records_are_kept(store: JobStore, clock: Clock) -> None:
    store.reserve("r", "body", "a", owed=True)
    store.postpone("a", 1, failed=True)

    pass_time(store, clock, 8 * DAY)
    submit(store, "new", created=clock.now)

    assert owed(store) == {"a": 1}


def test_what_is_queued_again_after_a_failure_is_owed_again_with_no_try_counted(store: JobStore) -> None:
    job = asked_by(store, "a", "registry:x").job
    store.postpone("a", 1, failed=True)
    store.settle("a")
    store.fail(job, 0, claimed(store, job), OOPS)
    record = AnalysisRecord("a", AnalysisRequest("demo", "demo:m"), "body", "e" * 64, 0.0, owner="registry:x")

    assert store.resubmit(record, replace(spec(), model="demo:a"), limit=10) is not None
    assert owed(store) == {}
    store.cancel("a", "")

    assert owed(store) == {"a": 0}


def test_what_was_not_owed_is_not_owed_when_it_is_queued_again(store: JobStore) -> None:
    failed_one(store)

    assert again(store) is not None
    store.cancel("a", "")

    assert owed(store) == {}


def delivered(id: str, request_id: str, delivery: str) -> AnalysisRecord:
    request = AnalysisRequest("demo", "demo:m", request_id=request_id)
    return AnalysisRecord(id, request, "body", "e" * 64, 0.0, delivery=delivery)


def test_a_delivery_that_came_before_is_repeated_whatever_it_asks_for(store: JobStore) -> None:
    first, other = delivered("a", "r1", "prod:d1"), delivered("b", "r2", "prod:d1")
    assert store.submit(first, spec(), fresh=False, limit=10).outcome is Outcome.NEW

    again = store.submit(other, spec(), fresh=False, limit=10)
    reserved = store.reserve("r3", "body", "c", delivery="prod:d1")

    assert [(item.outcome, item.analysis) for item in (again, reserved)] == [(Outcome.REPEATED, "a")] * 2
    assert store.snapshot("b") is None
    assert store.reserve("r3", "body", "c", delivery="prod:d2").outcome is Outcome.NEW
    assert store.submit(delivered("b", "r2", "prod:d2"), spec(), fresh=False, limit=10).analysis == "c"


def test_a_delivery_that_found_the_queue_full_may_come_again(store: JobStore) -> None:
    store.submit(delivered("a", "r1", ""), spec(), fresh=False, limit=1)
    refused = delivered("b", "r2", "prod:d1")

    assert store.submit(refused, spec(), fresh=False, limit=1).outcome is Outcome.FULL
    assert store.submit(refused, spec(), fresh=False, limit=2).outcome is Outcome.JOINED

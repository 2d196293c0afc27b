"""Rolling upgrade and rollback: the previous release and this one share a Redis, in both directions.

previous/transitions.lua is the script of the previous release, with which it changed all records of jobs.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from manual_clock import Clock
from redis_job_store import RedisJobStore
from redis_server import RedisServer

from service.domain import AnalysisRequest, Failure, ModelInfo, Predictions, State
from service.jobs import records, transitions
from service.jobs.store import MODELS, Outcome
from service.jobs.transitions import AnalysisRecord, ClaimOutcome, JobSpec, ShardResult
from service.key_value.redis_backend import connect

LEASE_SECONDS = 20.0
SPEC = JobSpec("demo:m", "demo", "e" * 64, "i" * 64, total=12, shard_size=4)
RESULT = ShardResult(Predictions(np.arange(4, dtype=np.int16)), ModelInfo("demo:m", "net", "0" * 64, "t"))
OOPS = Failure("OOPS", "it broke")


class PreviousRelease:
    """The calls of the previous release that a test needs."""

    def __init__(self, client: Any, clock: Clock) -> None:
        self._clock = clock
        self._script = client.register_script((Path(__file__).parent / "previous" / "transitions.lua").read_text())

    def run(self, transition: str, *arguments: object) -> Any:
        return self._script(args=[transition, repr(self._clock()), 1, *arguments])

    def submit(self, id: str, spec: JobSpec = SPEC) -> str:
        head = [id, records.record_json(record(id)), "r-" + id, "body"]
        job = [f"job-of-{id}", records.spec_json(spec), spec.num_shards, spec.dedupe_key]
        outcome, _, job_id, _ = self.run("submit", *head, *job, 0, 100, 0, "")
        assert outcome in (b"new", b"joined")
        return str(job_id.decode())

    def claim_shard(self, job: str, shard: int, worker: str = "older") -> tuple[str, int]:
        kind, fence, _ = self.run("claim_shard", job, shard, worker, LEASE_SECONDS)
        return kind.decode(), int(fence)

    def report(self, job: str, shard: int, fence: int, done: int) -> str:
        return str(self.run("report", job, shard, fence, "done", done).decode())

    def finish_shard(self, job: str, shard: int, fence: int) -> int:
        return int(self.run("finish_shard", job, shard, fence, 4, records.pack_shard_result(RESULT)))

    def fail_job(self, job: str, shard: int, fence: int) -> int:
        return int(self.run("fail_job", job, shard, fence, json.dumps(asdict(OOPS))))

    def judge(self, job: str) -> int:
        return int(self.run("finish_job", job, self.run("claim_judging", job), ""))


def record(id: str) -> AnalysisRecord:
    return AnalysisRecord(id, AnalysisRequest("demo", "demo:m", request_id="r-" + id), "body", "e" * 64, 0.0)


@pytest.fixture
def store(server: RedisServer, clock: Clock) -> Iterator[RedisJobStore]:
    client = connect(server.url, timeout=10)
    client.flushall()
    yield RedisJobStore(client, clock)
    client.connection_pool.disconnect()


@pytest.fixture
def previous(store: RedisJobStore, clock: Clock) -> PreviousRelease:
    return PreviousRelease(store.client, clock)


def submit(store: RedisJobStore, id: str, spec: JobSpec = SPEC) -> str:
    return store.submit(record(id), spec, limit=100).job


def finish(store: RedisJobStore, job: str, shard: int) -> int | None:
    claim = store.change_shard(transitions.claim, job, shard, "newer", LEASE_SECONDS)
    assert claim.kind is ClaimOutcome.CLAIMED
    return store.change_shard(transitions.finish, job, shard, claim.fencing_token, RESULT)


def open_keys(store: RedisJobStore) -> set[str]:
    """Return the keys of open jobs, without counters and the times of workers."""
    keys = {key.decode() for key in store.client.scan_iter()}
    return {key for key in keys if key.startswith(("errata:job:", "errata:shard:", "errata:part:", "errata:open:"))}


def test_this_release_finishes_a_job_that_the_previous_one_queued(
    store: RedisJobStore, previous: PreviousRelease
) -> None:
    job = previous.submit("a")

    assert [finish(store, job, shard) for shard in range(3)] == [2, 1, 0]
    claimed = store.change_job(transitions.claim_judging, job)
    assert claimed is not None
    assert len(store.shard_results(job)) == 3
    assert store.change_job(transitions.finish_judging, job, claimed.judging_token) is not None
    assert store.snapshots() == []
    assert open_keys(store) == set()


def test_the_previous_release_finishes_a_job_that_this_one_queued(
    store: RedisJobStore, previous: PreviousRelease
) -> None:
    job = submit(store, "a")

    for shard, left in ((0, 2), (1, 1), (2, 0)):
        kind, fence = previous.claim_shard(job, shard)
        assert kind == "claimed"
        assert previous.report(job, shard, fence, 2) == "ok"
        assert previous.finish_shard(job, shard, fence) == left
    assert previous.judge(job) == 1
    assert store.snapshots() == []
    assert open_keys(store) == set()


def test_both_releases_share_the_shards_of_a_job(store: RedisJobStore, previous: PreviousRelease) -> None:
    job = submit(store, "a")
    assert previous.submit("b") == job  # it joins
    assert store.submit(record("c"), SPEC, limit=10).outcome is Outcome.JOINED

    kind, fence = previous.claim_shard(job, 0)
    assert (kind, finish(store, job, 1), previous.claim_shard(job, 1)[0]) == ("claimed", 2, "skip")
    assert store.change_shard(transitions.claim, job, 0, "newer", LEASE_SECONDS).kind is ClaimOutcome.WAIT
    assert previous.finish_shard(job, 0, fence) == 1
    assert finish(store, job, 2) == 0
    assert previous.judge(job) == 1
    assert store.snapshots() == []


def test_a_shard_moves_between_the_releases_when_its_lease_expires(
    store: RedisJobStore, previous: PreviousRelease, clock: Clock
) -> None:
    job = previous.submit("a")
    _, older = previous.claim_shard(job, 0)
    clock.now += LEASE_SECONDS + 1
    newer = store.change_shard(transitions.claim, job, 0, "newer", LEASE_SECONDS)
    assert (newer.kind, newer.fencing_token) == (ClaimOutcome.CLAIMED, older + 1)
    assert previous.finish_shard(job, 0, older) == -1  # fenced
    clock.now += LEASE_SECONDS + 1

    kind, last = previous.claim_shard(job, 0)

    assert (kind, last) == ("claimed", older + 2)
    assert store.change_shard(transitions.renew, job, 0, newer.fencing_token, LEASE_SECONDS) is False
    _, _, index = store.claim_next((job, 0), "newer")
    assert index == 1  # the older worker's lease is not in the index, but it is live
    assert store.depth().refused == 1  # renewals are not counted
    result = store.job(job)
    assert result is not None
    assert result.shards[0].crashes == 2


def test_failures_and_request_ids_are_shared(store: RedisJobStore, previous: PreviousRelease) -> None:
    job = submit(store, "a")
    assert previous.fail_job(job, 0, previous.claim_shard(job, 0)[1]) == 1
    snapshot = store.snapshot("a")
    assert snapshot is not None
    assert (snapshot.record.state, snapshot.record.failure) == (State.FAILED, OOPS)
    assert store.submit(record("a"), SPEC, limit=10).outcome is Outcome.REPEATED

    retried = store.resubmit(record("a"), SPEC, limit=10)

    assert retried is not None
    claim = store.change_shard(transitions.claim, retried.job, 0, "newer", LEASE_SECONDS)
    assert store.change_shard(transitions.fail, retried.job, 0, claim.fencing_token, OOPS)
    member, (fields, *_) = previous.run("list")[0][0], previous.run("snapshot", "a")
    assert (member, dict(zip(fields[::2], fields[1::2], strict=True))[b"state"]) == (b"a", b"FAILED")


def test_a_write_of_the_previous_release_between_read_and_commit_repeats_the_step(
    store: RedisJobStore, previous: PreviousRelease, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(store, "a")
    commit, calls = store._backend.commit, 0

    def commit_late(*arguments: Any) -> bool:
        nonlocal calls
        calls += 1
        if calls == 1:
            assert previous.claim_shard(job, 0)[0] == "claimed"
        return commit(*arguments)

    monkeypatch.setattr(store._backend, "commit", commit_late)

    assert store.change_shard(transitions.claim, job, 0, "newer", LEASE_SECONDS).kind is ClaimOutcome.WAIT
    result = store.job(job)
    assert result is not None
    assert result.shards[0].worker == "older"


def test_random_steps_of_both_releases_end_every_analysis(
    store: RedisJobStore, previous: PreviousRelease, clock: Clock
) -> None:
    """Given 20 analyses whose shards both releases claim, abandon, and finish in random order, all of them end."""
    choose = random.Random(7)
    jobs = set()
    for number in range(20):
        clock.now += 1
        spec = replace(SPEC, model=f"demo:{number % 7}")  # some join the job of another
        jobs.add(previous.submit(f"p{number}", spec) if choose.random() < 0.5 else submit(store, f"n{number}", spec))
        if choose.random() < 0.5:
            store.cancel(f"n{number}", "")
    for _ in range(2000):
        clock.now += choose.choice([0.1, 0.1, LEASE_SECONDS + 1])
        for job in [job for job in jobs if store.job(job) is not None]:
            _step(store, previous, job, choose)
        if not store.depth().queued_analyses + store.depth().running_analyses:
            break

    assert store.depth().queued_shards == 0
    assert {snapshot.record.state for snapshot in store.snapshots()} <= {State.CANCELLED, State.FAILED}
    assert store.mark_lost_messages({MODELS}) == []


def _step(store: RedisJobStore, previous: PreviousRelease, job: str, choose: random.Random) -> None:
    shard, abandons = choose.randrange(3), choose.random() < 0.05
    if choose.random() < 0.5:
        kind, fence = previous.claim_shard(job, shard)
        left = -1 if kind != "claimed" or abandons else previous.finish_shard(job, shard, fence)
        if left == 0:
            claimed = store.change_job(transitions.claim_judging, job)
            assert claimed is not None
            assert store.change_job(transitions.finish_judging, job, claimed.judging_token)
    else:
        claim = store.change_shard(transitions.claim, job, shard, "newer", LEASE_SECONDS)
        is_claimed = claim.kind is ClaimOutcome.CLAIMED and not abandons
        if is_claimed and store.change_shard(transitions.finish, job, shard, claim.fencing_token, RESULT) == 0:
            assert previous.judge(job) == 1

"""Calls of job stores, for the tests of all implementations."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from manual_clock import Clock
from redis_job_store import RedisJobStore
from redis_server import RedisServer

from service.domain import AnalysisRequest, Failure, ModelInfo, Predictions, State
from service.jobs import transitions
from service.jobs.memory import InMemoryJobStore
from service.jobs.store import JobStore, Submission
from service.jobs.transitions import AnalysisRecord, ClaimOutcome, Job, JobSpec, OutboxItem, ShardResult
from service.key_value.redis_backend import connect

LEASE_SECONDS = 20.0
DAY = 86_400.0
OOPS = Failure("OOPS", "it broke")


def make_store(request: pytest.FixtureRequest, kind: str, clock: Clock) -> JobStore:
    """Return an empty store. Only the store in Redis starts a server."""
    if kind == "memory":
        return InMemoryJobStore(clock)
    return redis_store(request.getfixturevalue("server"), clock)


def redis_store(server: RedisServer, clock: Clock) -> RedisJobStore:
    """Return an empty store in Redis."""
    client = connect(server.url, timeout=10)
    client.flushall()
    return RedisJobStore(client, clock)


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


def record_ids(store: JobStore) -> set[str]:
    return {snapshot.record.id for snapshot in store.snapshots()}


def submit_failed(store: JobStore, request_id: str = "") -> None:
    job = submit(store, "a", request_id=request_id).job
    store.change_shard(transitions.fail, job, 0, claim_token(store, job), OOPS)


def resubmit(store: JobStore, limit: int = 10, request_id: str = "") -> Submission | None:
    record = AnalysisRecord("a", AnalysisRequest("demo", "demo:m", request_id=request_id), "body", "e" * 64, 0.0)
    return store.resubmit(record, replace(spec(), model="demo:same"), limit=limit)


def lease_due_items(store: JobStore, lease: float = LEASE_SECONDS) -> dict[str, int]:
    """Lease the due outbox items; return the failed attempts by analysis."""
    items = [item for _ in range(4) if (item := store.next_outbox_item(lease))]
    assert len({item.analysis for item in items}) == len(items)
    return {item.analysis: item.attempts for item in items}


def outbox_item(store: JobStore, id: str) -> OutboxItem:
    """Return the outbox item of an analysis, as a lease would return it now."""
    return store.run(lambda tx: tx.outbox_item(id)) or OutboxItem(id, 0)

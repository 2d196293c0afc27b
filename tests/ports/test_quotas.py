"""Limits of tokens on both stores: requests per minute over all processes, and open analyses."""

import random
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import pytest
from errata.errors import QuotaExceeded
from manual_clock import Clock
from redis_job_store import RedisJobStore
from redis_server import RedisServer

from service.caller import Caller
from service.domain import AnalysisRequest
from service.jobs.store import JobStore, Outcome
from service.jobs.transitions import AnalysisRecord, JobSpec
from service.key_value.redis_backend import connect
from service.quotas import RequestQuota, take_request


def submit(store: JobStore, id: str, owner: str, owner_limit: int = 0) -> Outcome:
    spec = JobSpec("demo:m", "demo", id.rjust(64, "0"), "i" * 64, 10, 4)
    record = AnalysisRecord(id, AnalysisRequest("demo", "demo:m"), "d", spec.evidence, 1.0, owner=owner)
    return store.submit(record, spec, limit=100, owner_limit=owner_limit).outcome


def take(store: JobStore, token: str, limit: int) -> float:
    return store.run(lambda tx: take_request(tx, token, limit))


def test_a_minute_of_requests_may_come_at_once_and_then_at_an_even_rate(store: JobStore, clock: Clock) -> None:
    assert [take(store, "ci", 6) for _ in range(6)] == [0.0] * 6
    assert take(store, "ci", 6) == pytest.approx(10.0, abs=1e-3)
    assert take(store, "other", 6) == 0.0

    clock.now += 10.0
    assert take(store, "ci", 6) == 0.0
    assert take(store, "ci", 6) == pytest.approx(10.0, abs=1e-3)

    clock.now += 60.0
    assert [take(store, "ci", 6) for _ in range(6)] == [0.0] * 6


def test_a_clock_that_is_set_back_locks_nobody_out(store: JobStore, clock: Clock) -> None:
    assert take(store, "ci", 6) == 0.0
    clock.now -= 3600.0

    assert [take(store, "ci", 6) for _ in range(6)] == [0.0] * 6
    assert take(store, "ci", 6) == pytest.approx(10.0, abs=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_the_limit_is_that_of_a_bucket_that_is_refilled_evenly(store: JobStore, clock: Clock, seed: int) -> None:
    """The reference is a token bucket, whose content is computed from all accepted requests."""
    choose, limit, tokens = random.Random(seed), 20, 20.0
    accepted: deque[float] = deque()
    for _ in range(150):
        pause = choose.choice([0.0, 0.5, 1.0, 5.0])
        clock.now += pause
        tokens = min(limit, tokens + pause * limit / 60)
        is_accepted = take(store, "ci", limit) == 0.0
        if abs(tokens - round(tokens)) > 1e-3 or tokens >= 1.01:  # not at the boundary
            assert is_accepted == (tokens >= 1)
        if is_accepted:
            tokens -= 1
            accepted.append(clock.now)
    assert all(sum(start <= time < start + 60 for time in accepted) <= 2 * limit for start in accepted)


def test_processes_share_the_count(server: RedisServer) -> None:
    server.client().flushall()
    stores = [RedisJobStore(connect(server.url, 10)) for _ in range(4)]

    with ThreadPoolExecutor(8) as pool:
        waits = [*pool.map(lambda number: take(stores[number % 4], "ci", 20), range(60))]

    assert 20 <= waits.count(0.0) <= 21  # one more if a request per three seconds is refilled meanwhile
    (key,) = server.client().keys("errata:requests:*")
    assert 0 < server.client().ttl(key) <= 60
    for store in stores:
        store.client.connection_pool.disconnect()


def test_a_refused_request_states_when_the_next_one_is_permitted(store: JobStore) -> None:
    quota, caller = RequestQuota(store), Caller("ci", max_requests=2)
    quota.count_now(caller)
    quota.count_now(caller)

    with pytest.raises(QuotaExceeded, match="'ci' has made more than 2 requests per minute") as refused:
        quota.count_now(caller)

    assert refused.value.retry_after == pytest.approx(30.0, abs=1.0)


def test_requests_are_counted_without_redis() -> None:
    quota = RequestQuota(RedisJobStore(connect("redis://127.0.0.1:1/0", 0.2)))
    caller = Caller("ci", max_requests=1)
    quota.count_now(caller)

    with pytest.raises(QuotaExceeded):
        quota.count_now(caller)


def test_open_analyses_of_an_owner_are_limited(store: JobStore) -> None:
    assert [submit(store, f"a{number}", "A", 2) for number in range(2)] == [Outcome.NEW] * 2
    assert submit(store, "b", "B", 2) is Outcome.NEW
    assert submit(store, "a2", "A", 2) is Outcome.OWNER_FULL
    assert submit(store, "a3", "A") is Outcome.NEW  # without a limit
    assert store.snapshot("a2") is None

    for name in ("a0", "a1"):
        store.cancel(name, "")
    assert submit(store, "a2", "A", 2) is Outcome.NEW


def test_concurrent_submissions_do_not_exceed_the_limit_of_an_owner(store: JobStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        outcomes = [*pool.map(lambda number: submit(store, f"c{number}", "A", 5), range(20))]

    assert outcomes.count(Outcome.NEW) == 5
    assert outcomes.count(Outcome.OWNER_FULL) == 15

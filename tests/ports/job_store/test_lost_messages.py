"""Jobs whose messages were lost are found."""

import pytest
from job_store_calls import DAY, claim_token, shard_result, spec, submit
from manual_clock import Clock
from redis_job_store import RedisJobStore
from redis_server import RedisServer

from service.jobs import transitions
from service.jobs.store import JUDGING, MODELS, JobStore
from service.jobs.transitions import ClaimOutcome
from service.key_value.redis_backend import connect


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

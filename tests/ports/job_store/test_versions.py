"""Records of earlier and later versions."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from errata.errors import NewerRecord
from job_store_calls import (
    LEASE_SECONDS,
    claim_judging,
    claim_token,
    get_job,
    redis_store,
    run_all,
    shard_result,
    state_of,
    submit,
)
from manual_clock import Clock
from redis_job_store import RedisJobStore
from redis_server import RedisServer

from service.domain import State
from service.jobs import transitions
from service.jobs.records import SCHEMA
from service.jobs.store import JobStore, Outcome
from service.jobs.transitions import Claim, ClaimOutcome
from service.key_value.redis_backend import connect

RECORDED = Path(__file__).parents[1] / "written"  # the keys that earlier versions wrote


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

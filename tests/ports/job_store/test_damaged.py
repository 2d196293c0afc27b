"""Damaged records are reported, and hide nothing."""

import json
import zlib
from typing import Any

import pytest
import structlog
from errata.errors import DamagedRecord
from job_store_calls import OOPS, claim_token, record_ids, submit
from redis_job_store import RedisJobStore
from redis_server import RedisServer

from service.domain import State
from service.jobs import transitions
from service.jobs.store import Outcome
from service.jobs.transitions import ClaimOutcome, OutboxItem, WorkerOffer
from service.key_value.redis_backend import connect

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

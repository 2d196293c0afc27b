"""Heartbeats and offers of workers."""

from job_store_calls import submit
from manual_clock import Clock

from service.jobs.store import JobStore
from service.jobs.transitions import WorkerOffer


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

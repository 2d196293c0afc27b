"""Notices between processes: malformed ones and a process's own ones are ignored, and errors end nothing."""

import time
from collections.abc import Callable
from typing import Any, cast

import pytest
import redis
import structlog
from errata.errors import Unavailable

from service.archive import notices
from service.archive.notices import CHANNEL, RedisNotices

OTHER = "0" * 32


class FakeRedis:
    """A Redis that delivers what a process publishes to the process itself, after some failures."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.messages: list[bytes] = []

    def publish(self, channel: str, text: str) -> None:
        assert channel == CHANNEL
        self.messages.append(text.encode())

    def pubsub(self) -> "FakeRedis":
        return self

    def __enter__(self) -> "FakeRedis":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def subscribe(self, channel: str) -> None:
        assert channel == CHANNEL
        if self.failures:
            self.failures -= 1
            raise redis.ConnectionError("away")

    def get_message(self, timeout: float) -> dict[str, Any] | None:
        if not self.messages:
            time.sleep(0.01)
            return None
        return {"type": "message", "data": self.messages.pop(0)}


def receive(server: FakeRedis, on_change: Callable[[str], None], count: Callable[[], bool]) -> int:
    """Receive notices until `count` returns true; return the number of connections."""
    connections: list[int] = []
    subscriber = RedisNotices(cast(redis.Redis, server))
    subscriber.start(on_change, lambda: connections.append(1))
    deadline = time.monotonic() + 10
    while not count() and time.monotonic() < deadline:
        time.sleep(0.01)
    subscriber.stop()
    return len(connections)


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(notices, "WAIT_SECONDS", 0.05)


def test_only_valid_notices_of_other_processes_are_received() -> None:
    server, received = FakeRedis(), list[str]()
    server.messages = [b"", b"odd", f"{OTHER} ../secret".encode(), f"{OTHER} a1\n".encode(), f"{OTHER} a1".encode()]

    assert receive(server, received.append, lambda: bool(received)) == 1
    assert received == ["a1"]


def test_a_process_does_not_receive_its_own_notices() -> None:
    server, received = FakeRedis(), list[str]()
    process = RedisNotices(cast(redis.Redis, server))
    process.start(received.append, lambda: None)
    process.send("mine")
    deadline = time.monotonic() + 10
    while not server.messages and time.monotonic() < deadline:
        time.sleep(0.001)
    server.messages.append(f"{OTHER} theirs".encode())
    while not received and time.monotonic() < deadline:
        time.sleep(0.01)
    process.stop()

    assert received == ["theirs"]


def test_an_interrupted_subscription_is_renewed() -> None:
    server, received = FakeRedis(failures=3), list[str]()
    server.messages = [f"{OTHER} a1".encode()]

    assert receive(server, received.append, lambda: bool(received)) == 1
    assert received == ["a1"]


@pytest.mark.parametrize("error", [Unavailable("The archive is unavailable."), RuntimeError("a bug")])
def test_a_notice_that_fails_is_logged_and_the_next_one_is_received(error: Exception) -> None:
    server, received = FakeRedis(), list[str]()
    server.messages = [f"{OTHER} a1".encode(), f"{OTHER} a2".encode()]

    def on_change(analysis_id: str) -> None:
        received.append(analysis_id)
        if analysis_id == "a1":
            raise error

    with structlog.testing.capture_logs() as log:
        receive(server, on_change, lambda: len(received) == 2)

    assert received == ["a1", "a2"]
    assert [event["event"] for event in log] == ["notice not processed"]

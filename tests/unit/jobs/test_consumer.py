"""Notifications of queues: they end the pauses of their consumers, and none is missed between a fetch and a pause."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
import redis
from dramatiq import Message
from dramatiq.broker import Consumer, MessageProxy

from service.jobs.consumer import STOPPING_SECONDS, Notifier, WaitingConsumer

LONG = 60.0  # seconds


class Client:
    """A client of a Redis that is unavailable."""

    def publish(self, channel: str, message: str) -> None:
        raise redis.ConnectionError(f"no connection for {channel}")


def make_notifier() -> Notifier:
    return Notifier(cast(redis.Redis, Client()), "news")


@pytest.mark.parametrize("queue", ["models", ""])  # earlier versions name no queue
def test_a_notification_ends_the_pauses_of_all_consumers_of_its_queue(queue: str) -> None:
    notifier = make_notifier()
    start = time.monotonic()

    with ThreadPoolExecutor(4) as pool:
        waits = [pool.submit(notifier.wait, "models", notifier.count("models"), LONG) for _ in range(4)]
        notifier.wake_consumers(queue)
        for wait in waits:
            wait.result()

    assert time.monotonic() - start < LONG / 2


def test_a_notification_does_not_end_the_pauses_of_other_queues() -> None:
    notifier = make_notifier()
    count, start = notifier.count("models"), time.monotonic()
    notifier.wake_consumers("models.DQ")

    notifier.wait("models", count, 0.1)

    assert time.monotonic() - start >= 0.1


def test_a_notification_between_a_fetch_and_a_pause_is_not_missed() -> None:
    notifier = make_notifier()
    count, start = notifier.count("models"), time.monotonic()
    notifier.wake_consumers("models")

    notifier.wait("models", count, LONG)

    assert time.monotonic() - start < LONG / 2


def test_an_unavailable_redis_loses_a_notification_without_an_error() -> None:
    notifier, message = make_notifier(), Message[Any]("models", "shard", (), {}, {})

    notifier.after_enqueue(cast(Any, None), message, delay=None)

    assert notifier.count("models") == 0


def test_consumers_that_stop_pause_only_briefly() -> None:
    notifier, anything = make_notifier(), cast(Any, None)
    notifier.before_worker_shutdown(anything, anything)
    start = time.monotonic()

    notifier.wait("models", notifier.count("models"), LONG)

    assert STOPPING_SECONDS / 2 < time.monotonic() - start < LONG / 2


class FakeConsumer(Consumer):
    """A consumer of these messages, whose queue gets another message during each fetch that finds none."""

    def __init__(self, notifier: Notifier, *messages: MessageProxy) -> None:
        self._notifier = notifier
        self._messages = [*messages]

    def __next__(self) -> MessageProxy | None:
        if self._messages:
            return self._messages.pop(0)
        self._notifier.wake_consumers("models")
        return None

    def ack(self, message: MessageProxy) -> None:
        pass


def test_a_queue_is_empty_unless_its_consumer_has_as_many_messages_as_it_may_have() -> None:
    notifier, message = make_notifier(), MessageProxy(Message[Any]("models", "shard", (), {}, {}))
    consumer = WaitingConsumer(FakeConsumer(notifier, message), "models", 1, notifier, LONG)

    fetched = [next(consumer), next(consumer)]
    is_full = not consumer.is_empty
    consumer.ack(message)
    next(consumer)

    assert fetched == [message, None]
    assert is_full
    assert consumer.is_empty


def test_a_message_that_arrives_during_a_fetch_is_not_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    notifier, counts = make_notifier(), list[int]()
    monkeypatch.setattr(notifier, "wait", lambda queue, count, seconds: counts.append(count))

    next(WaitingConsumer(FakeConsumer(notifier), "models", 1, notifier, LONG))

    assert (counts, notifier.count("models")) == ([0], 1)

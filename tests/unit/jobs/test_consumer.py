"""Notifications of queues: threads of one process start together."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from service.jobs import consumer
from service.jobs.consumer import Notifier


class SlowThread(threading.Thread):
    """A thread whose construction takes a while, so that a second caller could construct another one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        time.sleep(0.01)
        super().__init__(*args, **kwargs)


class Client:
    """A client that counts publications."""

    def __init__(self) -> None:
        self.published = threading.Event()

    def publish(self, channel: str, message: bytes) -> None:
        self.published.set()


def test_first_notifications_at_the_same_time_start_one_publisher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "Thread", SlowThread)
    client: Any = Client()
    notifier = Notifier(client, "news")
    before = threading.active_count()

    with ThreadPoolExecutor(8) as pool:
        for result in [pool.submit(notifier.notify, other_processes=True) for _ in range(8)]:
            result.result()

    assert client.published.wait(10)
    assert threading.active_count() == before + 1
    notifier.stop()

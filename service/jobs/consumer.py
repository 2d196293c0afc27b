"""Notifications of the engine's queues: an idle consumer waits for one instead of polling Redis many times a second."""

import time
from collections.abc import Callable, Iterable
from threading import Event, Lock, Thread
from typing import Any

import redis
import structlog
from dramatiq.broker import Consumer, MessageProxy

MAX_WAIT_SECONDS = 1.0  # longest pause between two fetches of an idle consumer, also after a lost notification
STOPPING_SECONDS = 0.05  # pause between two fetches of a consumer that is being stopped
_log = structlog.get_logger()


class Notifier:
    """Publishes that a queue has a new message, and wakes the consumers in all processes.

    Two threads start when they are needed. One publishes: it sends few notifications for many messages. The other
    subscribes.
    """

    def __init__(self, client: redis.Redis, channel: str) -> None:
        self._client: Any = client  # redis-py's subscriptions have no types
        self._channel = channel
        self._stopped = Event()
        self._has_news = Event()
        self._wakeups: list[Event] = []
        self._threads: dict[str, Thread] = {}
        self._lock = Lock()

    def add_consumer(self, wakeup: Event) -> None:
        """Set an event at each notification."""
        with self._lock:
            self._wakeups = [*self._wakeups, wakeup]
        self._start("queue-subscriber", self._subscribe)

    def remove_consumer(self, wakeup: Event) -> None:
        """Stop setting an event."""
        with self._lock:
            self._wakeups = [other for other in self._wakeups if other is not wakeup]

    def notify(self, *, other_processes: bool) -> None:
        """Wake the consumers in this process and, if `other_processes` is true, in all other processes."""
        for wakeup in self._wakeups:
            wakeup.set()
        if other_processes:
            self._start("queue-publisher", self._publish)
            self._has_news.set()

    def stop(self) -> None:
        """Stop the threads, and let consumers return from their pauses."""
        self._stopped.set()
        self.notify(other_processes=False)
        self._has_news.set()

    @property
    def is_stopped(self) -> bool:
        """Whether the threads are stopped."""
        return self._stopped.is_set()

    def _start(self, name: str, run: Callable[[], None]) -> None:
        with self._lock:
            if name not in self._threads and not self._stopped.is_set():
                self._threads[name] = Thread(target=run, name=name, daemon=True)
                self._threads[name].start()

    def _publish(self) -> None:
        while self._has_news.wait() and not self._stopped.is_set():
            self._has_news.clear()
            try:
                self._client.publish(self._channel, b"")
            except redis.RedisError as error:
                _log.debug("queue notification lost", error=str(error))

    def _subscribe(self) -> None:
        while not self._stopped.is_set():
            try:
                with self._client.pubsub(ignore_subscribe_messages=True) as subscription:
                    subscription.subscribe(self._channel)
                    self.notify(other_processes=False)  # messages may have been sent before the subscription
                    while not self._stopped.is_set():
                        if subscription.get_message(timeout=MAX_WAIT_SECONDS) is not None:
                            self.notify(other_processes=False)
            except (redis.RedisError, OSError) as error:
                _log.debug("queue subscription lost", error=str(error))
                self._stopped.wait(MAX_WAIT_SECONDS)


class WaitingConsumer(Consumer):  # type: ignore[misc]  # dramatiq's class has no types
    """Wraps a consumer that never waits. After an empty fetch, waits for a notification or for a delayed message."""

    def __init__(self, consumer: Consumer, prefetch: int, notifier: Notifier, max_wait: float) -> None:
        self._consumer = consumer
        self._prefetch = prefetch
        self._notifier = notifier
        self._max_wait = max_wait
        self._wakeup = Event()
        self._due: dict[str, float] = {}  # the delivered messages, with the time until which they are delayed
        self.is_empty = False  # whether the last fetch found no message
        notifier.add_consumer(self._wakeup)

    def __next__(self) -> MessageProxy | None:
        self._wakeup.clear()
        message = next(self._consumer)
        if message is not None:
            self._due[message.message_id] = message.options.get("eta", 0) / 1000
            self.is_empty = False
            return message
        self.is_empty = len(self._due) < self._prefetch
        self._wakeup.wait(STOPPING_SECONDS if self._notifier.is_stopped else self._pause())
        return None

    def ack(self, message: MessageProxy) -> None:
        """Acknowledge a message."""
        self._consumer.ack(message)
        self._forget(message)

    def nack(self, message: MessageProxy) -> None:
        """Drop a message."""
        self._consumer.nack(message)
        self._forget(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Return messages to the queue."""
        self._consumer.requeue(messages)

    def close(self) -> None:
        """Close the consumer."""
        self._notifier.remove_consumer(self._wakeup)
        self._consumer.close()

    def _forget(self, message: MessageProxy) -> None:
        self._due.pop(message.message_id, None)
        self._wakeup.set()  # the consumer can fetch the next message

    def _pause(self) -> float:
        delays = [due - time.time() for due in list(self._due.values()) if due]
        return max(0.0, min([self._max_wait, *delays]))

"""Notifications of the engine's queues: an idle consumer waits for one instead of polling Redis many times a second."""

import time
from collections import Counter
from collections.abc import Iterable
from threading import Condition, Event, Thread
from typing import Any

import dramatiq
import redis
import structlog
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.middleware import Middleware

MAX_WAIT_SECONDS = 1.0  # longest pause between two fetches of an idle consumer, also after a lost notification
STOPPING_SECONDS = 0.05  # pause between two fetches of a consumer that is being stopped
_log = structlog.get_logger()


class Notifier(Middleware):
    """Publishes that a queue has a new message, and wakes the consumers of this queue in all processes."""

    def __init__(self, client: redis.Redis, channel: str) -> None:
        self._client: Any = client  # redis-py's subscriptions have no types
        self._channel = channel
        self._stopped = Event()
        self._condition = Condition()
        self._counts = Counter[str]()  # notifications that this process has received, by queue; empty: for all queues

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Start a thread that receives notifications."""
        Thread(target=self._subscribe, name="queue-subscriber", daemon=True).start()

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Stop the thread, and shorten the pauses of consumers."""
        self._stopped.set()
        self.wake_consumers()

    def after_enqueue(self, broker: dramatiq.Broker, message: dramatiq.Message[Any], delay: int | None) -> None:
        """Notify all processes of a message; if the message is delayed, wake only the consumers of this process."""
        if delay is not None:
            self.wake_consumers(message.queue_name)
            return
        try:
            self._client.publish(self._channel, message.queue_name)
        except redis.RedisError as error:
            _log.debug("queue notification lost", error=str(error))

    def wake_consumers(self, queue: str = "") -> None:
        """End the pauses of the consumers of a queue in this process; if no queue is named, of all consumers."""
        with self._condition:
            self._counts[queue] += 1
            self._condition.notify_all()

    def count(self, queue: str) -> int:
        """Return the number of notifications that the consumers of a queue have received."""
        return self._counts[queue] + self._counts[""]

    def wait(self, queue: str, count: int, seconds: float) -> None:
        """Wait until more than `count` notifications for a queue were received, for a limited time."""
        seconds = STOPPING_SECONDS if self._stopped.is_set() else seconds
        with self._condition:
            self._condition.wait_for(lambda: self.count(queue) != count, seconds)

    def _subscribe(self) -> None:
        while not self._stopped.is_set():
            try:
                with self._client.pubsub(ignore_subscribe_messages=True) as subscription:
                    subscription.subscribe(self._channel)
                    self.wake_consumers()  # messages may have been sent before the subscription
                    while not self._stopped.is_set():
                        if (notification := subscription.get_message(timeout=MAX_WAIT_SECONDS)) is not None:
                            # Earlier versions name no queue.
                            self.wake_consumers(notification["data"].decode(errors="replace"))
            except (redis.RedisError, OSError) as error:
                _log.debug("queue subscription lost", error=str(error))
                self._stopped.wait(MAX_WAIT_SECONDS)


class WaitingConsumer(Consumer):  # type: ignore[misc]  # dramatiq's class has no types
    """Wraps a consumer that never waits. After an empty fetch, waits for a notification or for a delayed message."""

    def __init__(self, consumer: Consumer, queue: str, prefetch: int, notifier: Notifier, max_wait: float) -> None:
        self._consumer = consumer
        self._queue = queue
        self._prefetch = prefetch
        self._notifier = notifier
        self._max_wait = max_wait
        self._due: dict[str, float] = {}  # the delivered messages, with the time until which they are delayed
        self.is_empty = False  # whether the last fetch found no message

    def __next__(self) -> MessageProxy | None:
        count = self._notifier.count(self._queue)
        message = next(self._consumer)
        if message is not None:
            self._due[message.message_id] = message.options.get("eta", 0) / 1000
            self.is_empty = False
            return message
        self.is_empty = len(self._due) < self._prefetch
        delays = [due - time.time() for due in list(self._due.values()) if due]
        self._notifier.wait(self._queue, count, max(0.0, min([self._max_wait, *delays])))
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
        self._consumer.close()

    def _forget(self, message: MessageProxy) -> None:
        self._due.pop(message.message_id, None)
        self._notifier.wake_consumers(self._queue)  # the consumer can fetch the next message

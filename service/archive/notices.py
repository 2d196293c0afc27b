"""Notices between the API processes of one Redis: the ids of analyses that a process has archived or deleted.

A notice can be lost. The periodic comparison of the index with the archive finds the change then.
"""

import re
import uuid
from collections.abc import Callable
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any

import redis
import structlog
from errata.errors import ErrataError

CHANNEL = "errata:archive:changed"
MAX_WAITING = 10_000  # maximum number of notices that wait to be sent; further ones are dropped
WAIT_SECONDS = 0.25  # maximum duration of a wait, after which a thread checks whether it is stopped
RETRY_SECONDS = 2.0  # pause after an error of Redis
_NOTICE = re.compile(rb"([0-9a-f]{32}) ([0-9a-z]{1,64})")
_log = structlog.get_logger()


class RedisNotices:
    """Sends notices in one thread and receives them in another, so that no caller waits for Redis.

    Args:
        client: A client of Redis.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client: Any = client  # redis-py has no types for subscriptions
        self._sender = uuid.uuid4().hex
        self._waiting: Queue[str] = Queue(MAX_WAITING)
        self._stopped = Event()
        self._threads: list[Thread] = []

    def send(self, analysis_id: str) -> None:
        """Send a notice soon."""
        try:
            self._waiting.put_nowait(analysis_id)
        except Full:
            _log.warning("notice dropped", analysis=analysis_id)

    def start(self, on_change: Callable[[str], None], on_connected: Callable[[], None]) -> None:
        """Start the threads.

        Args:
            on_change: Called with the id of an analysis that another process has archived or deleted.
            on_connected: Called each time a connection is made. Notices that were sent before are lost.
        """
        for name, run in (
            ("notices-out", self._run_sender),
            ("notices-in", lambda: self._run_receiver(on_change, on_connected)),
        ):
            self._threads.append(Thread(target=run, name=name, daemon=True))
            self._threads[-1].start()

    def stop(self) -> None:
        """Stop the threads."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(4 * WAIT_SECONDS)

    def _run_sender(self) -> None:
        while not self._stopped.is_set():
            try:
                analysis_id = self._waiting.get(timeout=WAIT_SECONDS)
                self._client.publish(CHANNEL, f"{self._sender} {analysis_id}")
            except Empty:
                continue
            except redis.RedisError as error:
                _log.debug("notice not sent", error=str(error))
                self._stopped.wait(RETRY_SECONDS)

    def _run_receiver(self, on_change: Callable[[str], None], on_connected: Callable[[], None]) -> None:
        while not self._stopped.is_set():
            try:
                with self._client.pubsub() as subscription:  # type: ignore[no-untyped-call]
                    subscription.subscribe(CHANNEL)
                    on_connected()
                    while not self._stopped.is_set():
                        message = subscription.get_message(timeout=WAIT_SECONDS)
                        if message is not None and message["type"] == "message":
                            self._receive(message["data"], on_change)
            except redis.RedisError as error:
                _log.debug("notices interrupted", error=str(error))
                self._stopped.wait(RETRY_SECONDS)

    def _receive(self, data: bytes, on_change: Callable[[str], None]) -> None:
        notice = _NOTICE.fullmatch(data)
        if notice is None or notice[1] == self._sender.encode():
            return
        try:
            on_change(notice[2].decode())
        except ErrataError as error:
            _log.warning("notice not processed", error=str(error))
        except Exception:
            _log.exception("notice not processed")

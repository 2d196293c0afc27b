"""A job store in Redis, for tests that also read or change its keys."""

from collections.abc import Callable, Sequence

import redis

from service.jobs.store import JobStore
from service.key_value.commands import Command, Reply
from service.key_value.redis_backend import RedisBackend


class RedisJobStore(JobStore):
    """A job store in Redis, with its client. With `clock`, Redis seems to have this clock instead of its own."""

    def __init__(self, client: redis.Redis, clock: Callable[[], float] | None = None) -> None:
        self.client = client
        super().__init__(RedisBackend(client) if clock is None else _BackendWithClock(client, clock))


class _BackendWithClock(RedisBackend):
    def __init__(self, client: redis.Redis, clock: Callable[[], float]) -> None:
        super().__init__(client)
        self._clock = clock

    def read(self, commands: Sequence[Command]) -> list[Reply]:
        seconds, microseconds = divmod(round(self._clock() * 1e6), 1_000_000)
        time: Reply = [str(seconds).encode(), str(microseconds).encode()]
        replies = super().read(commands)
        return [time if command == ("TIME",) else reply for command, reply in zip(commands, replies, strict=True)]

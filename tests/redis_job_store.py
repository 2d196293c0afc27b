"""A job store in Redis, for tests that also read or change its keys."""

from collections.abc import Callable

import redis

from service.jobs.store import JobStore
from service.key_value.redis_backend import RedisBackend


class RedisJobStore(JobStore):
    """A job store in Redis, with its client."""

    def __init__(self, client: redis.Redis, clock: Callable[[], float] | None = None) -> None:
        self.client = client
        super().__init__(RedisBackend(client), clock)

"""The in-memory job store, for `--local` and for tests."""

from collections.abc import Callable

from service.jobs.base_store import HEARTBEAT_SECONDS
from service.jobs.store import JobStore
from service.jobs.transitions import ShardResult
from service.key_value.commands import PREFIX
from service.key_value.memory_backend import MemoryBackend

MAX_CACHED_SHARDS = 64  # shards whose predictions are cached


class InMemoryJobStore(JobStore):
    """A job store in this process.

    Args:
        clock: Returns seconds since the epoch.
        heartbeat: Seconds without a heartbeat after which a worker is considered dead.
    """

    def __init__(self, clock: Callable[[], float], heartbeat: float = HEARTBEAT_SECONDS) -> None:
        super().__init__(MemoryBackend(clock), heartbeat)
        self._cached_shards: list[str] = []

    def store_shard_result(self, key: str, result: ShardResult) -> None:
        """Cache a shard's predictions; drop the oldest predictions of the cache beyond MAX_CACHED_SHARDS shards."""
        super().store_shard_result(key, result)
        self._cached_shards = [*(cached for cached in self._cached_shards if cached != key), key]
        dropped = [("DEL", f"{PREFIX}predictions:{old}") for old in self._cached_shards[:-MAX_CACHED_SHARDS]]
        self._backend.commit([], dropped)
        self._cached_shards = self._cached_shards[-MAX_CACHED_SHARDS:]
